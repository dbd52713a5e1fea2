// What a host's page shows, for what Telegraf and the agent push: one request for each panel.

import { UNITS } from "./format.js";

/**
 * A panel: fields of one measurement, grouped `by` a tag where that tells its series apart. `isCounter` means that
 * the field only grows, and what is shown is how fast. `names` are what fields are called in the legend.
 */
export const PANELS = [
  {
    title: "CPU",
    note: "all cores, by mode",
    measurement: "cpu",
    fields: ["usage_user", "usage_system", "usage_iowait", "usage_steal", "usage_nice", "usage_softirq", "usage_irq"],
    match: "cpu=cpu-total",
    names: (field) => field.replace("usage_", ""),
    unit: UNITS.percent,
    isStacked: true,
    top: 100,
  },
  {
    title: "CPU by core",
    note: "share of time not idle",
    measurement: "cpu",
    fields: ["usage_idle"],
    by: "cpu",
    match: "cpu!=cpu-total",
    of: (idle) => 100 - idle,
    unit: UNITS.percent,
    top: 100,
  },
  {
    title: "Memory",
    note: "used, and all there is",
    measurement: "mem",
    fields: ["used", "total"],
    unit: UNITS.bytes,
  },
  { title: "Swap", measurement: "swap", fields: ["used_percent"], names: () => "used", unit: UNITS.percent, top: 100 },
  {
    title: "Disk space",
    note: "used, by mount",
    measurement: "disk",
    fields: ["used_percent"],
    by: "path",
    unit: UNITS.percent,
    top: 100,
  },
  {
    title: "Disk transfer",
    note: "by device",
    measurement: "diskio",
    fields: ["read_bytes", "write_bytes"],
    by: "name",
    names: (field) => field.replace("_bytes", ""),
    isCounter: true,
    unit: UNITS.bytesPerSecond,
  },
  {
    title: "Network",
    note: "by interface",
    measurement: "net",
    fields: ["bytes_recv", "bytes_sent"],
    by: "interface",
    names: (field) => ({ bytes_recv: "received", bytes_sent: "sent" })[field],
    isCounter: true,
    unit: UNITS.bytesPerSecond,
  },
  {
    title: "Load",
    note: "mean of 1, 5 and 15 minutes",
    measurement: "system",
    fields: ["load1", "load5", "load15"],
    unit: UNITS.load,
  },
  { title: "Processes", measurement: "processes", fields: ["running", "blocked", "zombies"], unit: UNITS.count },
];

/** Ranges that can be chosen, and the window that each is cut into. */
export const RANGES = [
  { key: "15m", label: "15 min", length: 900, step: 10 },
  { key: "1h", label: "1 hour", length: 3600, step: 30 },
  { key: "6h", label: "6 hours", length: 21_600, step: 120 },
  { key: "24h", label: "24 hours", length: 86_400, step: 600 },
  { key: "7d", label: "7 days", length: 604_800, step: 3600 },
];
