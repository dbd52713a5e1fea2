// The numbers of the fleet: one row for each host, gathered from a request for each column.

import { all, get, now } from "./api.js";

export const SILENT_AFTER_MS = 120_000;
/** Lengths of time that a request may ask for, as its `start`. */
const RECENT = "-5m";
const CALM = "-2m";

/** Columns that are one number a host; `of` makes it what is shown. */
const COLUMNS = [
  {
    key: "cpu",
    measurement: "cpu",
    field: "usage_idle",
    match: "cpu=cpu-total",
    fn: "avg",
    start: CALM,
    of: (idle) => 100 - idle,
  },
  { key: "memory", measurement: "mem", field: "used_percent", fn: "last", start: RECENT },
  { key: "disk", measurement: "disk", field: "used_percent", fn: "max", start: RECENT },
  { key: "load", measurement: "system", field: "load1", fn: "last", start: RECENT },
];

const TREND_STEP_MS = 120_000;
const TREND_MS = 3_600_000;
export const TREND = { step: TREND_STEP_MS, length: TREND_MS };
/** A matcher may have 4,096 bytes; names that make it longer are asked for in several requests. */
const LONGEST_PATTERN = 3500;

/** The hosts of the last day, each with its numbers; a number is null where there is none. */
export class FleetData {
  #catalog;
  #columns = new Map();
  hosts = [];
  /** The keys of the numbers that no host has ever sent. */
  lacking = new Set();

  constructor(catalog) {
    this.#catalog = catalog;
  }

  /** Asks for everything; what could not be asked keeps its numbers, and `Failures` is thrown in the end. */
  async load(signal) {
    try {
      await all([this.#loadHosts(signal), ...COLUMNS.map((column) => this.#loadColumn(column, signal))]);
    } finally {
      this.hosts = this.hosts.map(({ host, seen }) => this.#row(host, seen));
    }
  }

  /** A host with the numbers that are known by now. */
  #row(host, seen) {
    const numbers = COLUMNS.map(({ key }) => [key, this.#columns.get(key)?.get(host) ?? null]);
    return { host, seen, ...Object.fromEntries(numbers) };
  }

  async #loadHosts(signal) {
    const answer = await get("api/v1/hosts", {}, signal);
    this.hosts = answer.hosts.map(({ host, last_seen: seen }) => this.#row(host, seen && Date.parse(seen)));
  }

  async #loadColumn({ key, measurement, field, match, fn, start, of = (value) => value }, signal) {
    if ((await this.#catalog.known(measurement, [field], signal)).length === 0) {
      this.lacking.add(key);
      return;
    }
    this.lacking.delete(key);
    const answer = await get(
      "api/v1/aggregate",
      { metric: `${measurement}.${field}`, fn, by: "host", match, start },
      signal,
    );
    const found = answer.series.filter((series) => series.value !== null);
    this.#columns.set(key, new Map(found.map((series) => [series.tags.host, of(series.value)])));
  }

  /** How busy each of `hosts` was in the last hour: `{points: [[time, percent], ...], end}` by host. */
  async trends(hosts, signal) {
    const curves = new Map();
    if ((await this.#catalog.known("cpu", ["usage_idle"], signal)).length === 0) {
      return curves;
    }
    const end = now();
    const start = Math.floor((end - TREND_MS) / TREND_STEP_MS) * (TREND_STEP_MS / 1000);
    const ask = async (pattern) => {
      const parameters = {
        metric: "cpu.usage_idle",
        by: "host",
        match: ["cpu=cpu-total", `host=~${pattern}`],
        start,
        step: "2m",
      };
      const answer = await get("api/v1/aggregate", parameters, signal);
      for (const series of answer.series) {
        const points = series.points.map(([time, idle]) => [Date.parse(time), 100 - idle]);
        curves.set(series.tags.host, { points, end });
      }
    };
    await all(patterns(hosts).map(ask));
    return curves;
  }
}

/** Whether a host has been silent for longer than it should be. */
export function isSilent(row) {
  return row.seen === null || now() - row.seen > SILENT_AFTER_MS;
}

/** Regular expressions that match just these names, none longer than a matcher may be. */
function patterns(names) {
  const found = [];
  let length = Infinity;
  for (const name of names) {
    const quoted = name.replace(/[!-/:-@[-^`{-~]/g, String.raw`\$&`);
    const size = new TextEncoder().encode(quoted).length + 1;
    if (length + size > LONGEST_PATTERN) {
      found.push([]);
      length = 0;
    }
    found.at(-1).push(quoted);
    length += size;
  }
  return found.map((group) => group.join("|"));
}
