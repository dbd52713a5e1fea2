// The fleet: every host, how busy it is, and when it was last heard of.

import { now } from "./api.js";
import { choice, h, write } from "./dom.js";
import { FleetData, isSilent, TREND } from "./fleet-data.js";
import { firstSteps } from "./first-steps.js";
import { age, count, dateAndTime, NONE, UNITS } from "./format.js";
import { Grid } from "./grid.js";
import { Poller } from "./poller.js";
import { sparkline } from "./sparkline.js";
import { fleetAddress, hostAddress, remember } from "./addresses.js";

const EVERY_MS = 5_000;
const EVERY_MS_OF_MANY = 30_000;
const MANY = 1000;
const TREND_EVERY_MS = 60_000;
const SECOND_MS = 1000;
const NO_CURVE = { points: [], end: 0 };

/** The columns that show a number, where that is not one of the same key. */
const COLUMNS_OF = { cpu: ["cpu", "trend"] };

const SHOWN = [
  ["all", "all"],
  ["reporting", "reporting"],
  ["silent", "silent"],
];

/** The view at `#/`. */
export class Fleet {
  title = "Fleet";
  #filter = h("input", {
    type: "search",
    placeholder: "part of a name",
    autocomplete: "off",
    spellcheck: "false",
  });
  #shown;
  #curves = new Map();

  constructor(root, { query }, { catalog, contact }) {
    this.#data = new FleetData(catalog);
    this.#grid = new Grid({
      caption: "Hosts",
      columns: this.#columns(),
      keyOf: (row) => row.host,
      sort: { key: "cpu", descending: true },
      changed: () => this.#looked(),
    });
    this.#summary = h("dl", { class: "summary" });
    this.#stale = h("p", { class: "note", role: "status" });
    this.#full = h("div", {}, this.#summary, this.#stale, this.#controls(), this.#grid.element);
    this.#empty = firstSteps();
    this.#loading = h("p", { class: "note" }, "Asking for the hosts.");
    this.#full.hidden = true;
    this.#empty.hidden = true;
    root.append(h("h1", { tabindex: "-1" }, "Fleet"), this.#loading, this.#empty, this.#full);
    this.#poller = new Poller((signal) => this.#load(signal), EVERY_MS, contact);
    this.#trends = new Poller((signal) => this.#loadTrends(signal), TREND_EVERY_MS, contact);
    this.follow(query);
    this.#poller.now();
    this.#clock = setInterval(() => this.#tick(), SECOND_MS);
  }

  /** Another look at it is in the address: by a link, or the browser's way back. */
  follow(parameters) {
    const told = Object.fromEntries(parameters);
    this.#filter.value = told.host ?? "";
    this.#shown.value = SHOWN.some(([key]) => key === told.show) ? told.show : "all";
    this.#grid.view = told;
    this.#draw();
  }

  #data;
  #grid;
  #summary;
  #stale;
  #full;
  #empty;
  #loading;
  #poller;
  #trends;
  #clock;

  dispose() {
    this.#poller.stop();
    this.#trends.stop();
    clearInterval(this.#clock);
  }

  async #load(signal) {
    try {
      await this.#data.load(signal);
      this.#empty.hidden = this.#data.hosts.length > 0;
    } finally {
      this.#loading.hidden = true;
      this.#full.hidden = this.#data.hosts.length === 0;
      this.#draw();
    }
    this.#poller.every = this.#data.hosts.length > MANY ? EVERY_MS_OF_MANY : EVERY_MS;
    if (this.#grid.seen.some((row) => !this.#curves.has(row.host))) {
      this.#trends.now();
    }
  }

  /** Curves are asked for the rows that are seen; those of rows that were seen before are kept. */
  async #loadTrends(signal) {
    const hosts = this.#grid.seen.map((row) => row.host);
    const curves = hosts.length > 0 ? await this.#data.trends(hosts, signal) : new Map();
    for (const host of hosts) {
      this.#curves.set(host, curves.get(host) ?? NO_CURVE);
    }
    this.#draw();
  }

  #controls() {
    const chosen = () => {
      this.#grid.rewind();
      this.#draw();
      this.#looked();
    };
    this.#filter.addEventListener("input", chosen);
    const shown = choice("Show", SHOWN, "all", chosen);
    this.#shown = shown.querySelector("select");
    return h(
      "form",
      { class: "controls", onsubmit: (event) => event.preventDefault() },
      h("label", {}, h("span", {}, "Host"), this.#filter),
      shown,
    );
  }

  /** Something else is looked at: the address has it, and curves are asked for the rows that are seen now. */
  #looked() {
    const show = this.#shown.value === "all" ? null : this.#shown.value;
    remember(fleetAddress({ host: this.#filter.value || null, show, ...this.#grid.view }));
    this.#trends.now();
  }

  #draw() {
    const { hosts } = this.#data;
    if (hosts.length === 0) {
      return;
    }
    const wanted = { all: () => true, reporting: (row) => !isSilent(row), silent: isSilent }[this.#shown.value];
    const part = this.#filter.value.toLowerCase();
    this.#grid.leaveOut([...this.#data.lacking].flatMap((key) => COLUMNS_OF[key] ?? [key]));
    this.#grid.show(hosts.filter((row) => wanted(row) && row.host.toLowerCase().includes(part)));
    this.#summarize(hosts);
  }

  /** Ages grow from second to second; rows keep their places until there are new numbers. */
  #tick() {
    this.#grid.refresh();
    this.#summarize(this.#data.hosts);
  }

  #summarize(hosts) {
    const silent = hosts.filter(isSilent).length;
    const newest = hosts.reduce((latest, row) => Math.max(latest, row.seen ?? 0), 0);
    const fullest = hosts.reduce((found, row) => ((row.disk ?? -1) > (found?.disk ?? -1) ? row : found), null);
    const facts = [
      ["hosts", count(hosts.length)],
      ["reporting", count(hosts.length - silent)],
      ["silent", count(silent)],
      ["CPU, mean", mean(hosts, "cpu"), "cpu"],
      ["memory, mean", mean(hosts, "memory"), "memory"],
      ["fullest disk", fullest ? `${percent(fullest.disk)} on ${fullest.host}` : NONE, "disk"],
    ];
    while (this.#summary.children.length < facts.length) {
      this.#summary.append(h("div", {}, h("dt"), h("dd")));
    }
    facts.forEach(([name, text, key], n) => {
      const fact = this.#summary.children[n];
      fact.hidden = this.#data.lacking.has(key);
      const [dt, dd] = fact.children;
      write(dt, name);
      write(dd, text);
      dd.className = name === "silent" && silent > 0 ? "warn" : "";
    });
    const isStale = hosts.length > 0 && silent === hosts.length;
    write(
      this.#stale,
      isStale && newest > 0
        ? `No host has sent a point since ${dateAndTime(newest)}: look at ingest and at the agents.`
        : "",
    );
  }

  #columns() {
    return [
      { key: "host", label: "Host", class: "name", value: (row) => row.host, render: renderHost },
      share("cpu", "CPU", "Share of time not idle, all cores, over the last 2 minutes"),
      {
        key: "trend",
        label: "CPU, last hour",
        class: "wide trend",
        hint: "Sorts by the share of time not idle; 0 to 100 %",
        value: (row) => row.cpu,
        render: (cell, row) => this.#renderTrend(cell, row),
      },
      share("memory", "Memory", "Share of memory that is used"),
      share("disk", "Disk", "The fullest file system"),
      {
        key: "load",
        label: "Load",
        class: "wide",
        hint: "Processes that run or wait, mean of a minute",
        numeric: true,
        value: (row) => row.load,
        render: (cell, row) => write(cell, row.load === null ? NONE : UNITS.load.write(row.load)),
      },
      {
        key: "seen",
        label: "Last seen",
        hint: "When the newest point of the last 24 hours was measured",
        numeric: true,
        value: (row) => row.seen ?? -Infinity, // longer ago than all the others
        render: renderSeen,
      },
    ];
  }

  #renderTrend(cell, row) {
    const curve = this.#curves.get(row.host) ?? NO_CURVE;
    if (cell.curve !== curve) {
      const shape = { start: curve.end - TREND.length, end: curve.end, top: 100, gap: 2.5 * TREND.step };
      cell.replaceChildren(curve.points.length > 0 ? sparkline(curve.points, shape) : "");
      cell.curve = curve;
    }
  }
}

function renderHost(cell, row, element) {
  if (!cell.firstChild) {
    cell.append(h("a", { href: hostAddress(row.host) }, row.host));
  }
  element.classList.toggle("silent", isSilent(row));
}

function renderSeen(cell, row) {
  if (!cell.firstChild) {
    cell.append(h("span", { class: "words" }), h("span"), h("span", { class: "words" }));
  }
  const [before, time, after] = cell.children;
  const isKnown = row.seen !== null;
  write(before, isSilent(row) ? "silent, " : "");
  write(time, isKnown ? age(now() - row.seen) : "over 24 h");
  write(after, isSilent(row) ? "" : " ago");
  cell.title = isKnown ? dateAndTime(row.seen) : "";
  cell.dataset.seen = row.seen ?? "";
}

/** A column of percentages, with a bar beside the number. */
function share(key, label, hint) {
  const render = (cell, row) => {
    if (!cell.firstChild) {
      cell.append(h("span", { class: "bar", "aria-hidden": "true" }, h("span")), h("span"));
    }
    const [bar, text] = cell.children;
    const value = row[key];
    write(text, percent(value));
    bar.firstChild.style.width = `${Math.min(value ?? 0, 100).toFixed(1)}%`;
    bar.className = value === null ? "bar none" : `bar ${level(value)}`;
  };
  return { key, label, hint, numeric: true, class: "share", value: (row) => row[key], render };
}

function level(value) {
  if (value >= 90) {
    return "bad";
  }
  return value >= 75 ? "warn" : "";
}

function percent(value) {
  return value === null ? NONE : UNITS.percent.write(value);
}

/** The mean of a percentage over the rows that have it, as text. */
function mean(rows, key) {
  const values = rows.map((row) => row[key]).filter((value) => value !== null);
  return percent(values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length);
}
