// One host: what it is, and its curves, which go on by themselves.

import { exploreAddress, hostAddress, remember } from "./addresses.js";
import { all, get, now } from "./api.js";
import { h, place, write } from "./dom.js";
import { age, bytes, count, dateAndTime, NONE } from "./format.js";
import { PANELS, RANGES } from "./host-panels.js";
import { otherPanels } from "./other-panels.js";
import { Poller } from "./poller.js";
import { seriesOf } from "./series.js";
import { TimeChart } from "./timechart.js";

const EVERY_MS = 10_000;
const SECOND_MS = 1000;
const SEEN = "last seen";
const FACTS = [
  { measurement: "system", field: "uptime", name: "up for", write: (seconds) => age(seconds * SECOND_MS) },
  { measurement: "system", field: "n_cpus", name: "cores", write: count },
  { measurement: "mem", field: "total", name: "memory", write: bytes },
];

/** The view at `#/hosts/NAME`. */
export class Host {
  #host;
  #catalog;
  #range = RANGES[0];
  #seen = null;
  #charts = new Map();
  #others = [];
  #facts = h("dl", { class: "summary" });
  #state = h("p", { class: "note", role: "status" }, "Asking for its points.");
  #figures = h("div", { class: "charts" });
  #more = h(
    "nav",
    { class: "more", "aria-label": "Explore", hidden: true },
    h("h2", {}, "Explore this host"),
    h("ul"),
  );
  #links = new Map();
  #factOf = new Map();
  #choices = new Map();
  #poller;
  #clock;

  constructor(root, { host, query }, { catalog, contact }) {
    this.#host = decode(host);
    this.title = this.#host;
    this.#catalog = catalog;
    this.#poller = new Poller((signal) => this.#load(signal), EVERY_MS, contact);
    root.append(
      h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Fleet")),
      h("h1", { tabindex: "-1" }, this.#host),
      this.#facts,
      this.#ranges(),
      this.#state,
      this.#figures,
      this.#more,
    );
    for (const name of [SEEN, ...FACTS.map((fact) => fact.name)]) {
      this.#addFact(name);
    }
    this.follow(query);
    this.#clock = setInterval(() => this.#tick(), SECOND_MS);
  }

  /** Another range is in the address: by a link, or the browser's way back. */
  follow(parameters) {
    this.#range = RANGES.find(({ key }) => key === parameters.get("range")) ?? RANGES[0];
    this.#choices.get(this.#range).checked = true;
    this.#poller.anew();
  }

  dispose() {
    this.#poller.stop();
    clearInterval(this.#clock);
    for (const chart of this.#charts.values()) {
      chart.dispose();
    }
  }

  async #load(signal) {
    const isKnown = await this.#loadSeen(signal);
    if (!isKnown) {
      write(this.#state, "No host of this name has sent a point.");
      return;
    }
    const step = this.#range.step;
    const end = Math.floor(now() / SECOND_MS);
    const range = { start: Math.floor((end - this.#range.length) / step) * step, end, step };
    this.#poller.every = Math.max(EVERY_MS, (step * SECOND_MS) / 3);
    await all([
      ...FACTS.map((fact) => this.#loadFact(fact, signal)),
      ...PANELS.map((panel) => this.#loadPanel(panel, range, signal)),
      this.#loadMore(signal),
    ]);
    if (!PANELS.some((panel) => this.#charts.has(keyOf(panel)))) {
      await this.#loadOthers(range, signal);
    }
    write(this.#state, this.#charts.size > 0 ? "" : "It has sent nothing in this range.");
  }

  async #loadOthers(range, signal) {
    const measurements = await this.#catalog.sentBy(this.#host, signal);
    this.#others = await otherPanels(measurements, this.#catalog, signal);
    await all(this.#others.map((panel) => this.#loadPanel(panel, range, signal)));
  }

  async #loadSeen(signal) {
    const answer = await get("api/v1/hosts", { match: `host=${this.#host}` }, signal);
    const [found] = answer.hosts;
    this.#seen = found?.last_seen ? Date.parse(found.last_seen) : null;
    this.#tick();
    return found !== undefined;
  }

  async #loadFact(fact, signal) {
    if ((await this.#catalog.known(fact.measurement, [fact.field], signal)).length === 0) {
      return;
    }
    const parameters = {
      metric: `${fact.measurement}.${fact.field}`,
      fn: "last",
      match: `host=${this.#host}`,
      start: "-24h",
    };
    const answer = await get("api/v1/aggregate", parameters, signal);
    const value = answer.series[0]?.value ?? null;
    const element = this.#factOf.get(fact.name);
    write(element, value === null ? NONE : fact.write(value));
    element.parentElement.hidden = value === null;
  }

  async #loadPanel(panel, { start, end, step }, signal) {
    const fields = await this.#catalog.known(panel.measurement, panel.fields, signal);
    if (fields.length === 0) {
      return;
    }
    const answer = await get(
      "api/v1/aggregate",
      {
        metric: fields.map((field) => `${panel.measurement}.${field}`),
        fn: panel.isCounter ? "rate" : "avg",
        by: panel.by,
        limit: panel.limit,
        match: [`host=${this.#host}`, panel.match],
        start,
        end,
        step: `${step}s`,
      },
      signal,
    );
    const names = panel.names ?? ((field) => field);
    const called = (metric) => names(metric.slice(panel.measurement.length + 1));
    const series = seriesOf(answer, called, panel.of).filter((one) => one.points.length > 0);
    if (series.length > 0 || this.#charts.has(keyOf(panel))) {
      const range = { start: start * SECOND_MS, end: end * SECOND_MS, step: step * SECOND_MS };
      await this.#chart(panel).show(series, range);
      signal.throwIfAborted();
    }
  }

  /** The panel's chart; a new one stands where the order of panels has it. */
  #chart(panel) {
    const known = this.#charts.get(keyOf(panel));
    if (known) {
      return known;
    }
    const chart = new TimeChart(panel);
    this.#charts.set(keyOf(panel), chart);
    const ordered = [...PANELS, ...this.#others].map((one) => this.#charts.get(keyOf(one))?.element).filter(Boolean);
    this.#figures.replaceChildren(...ordered);
    return chart;
  }

  async #loadMore(signal) {
    const measurements = await this.#catalog.sentBy(this.#host, signal);
    const links = measurements.map((measurement) => {
      const address = exploreAddress({ measurement, match: `host=${this.#host}` });
      return this.#links.get(measurement) ?? h("li", {}, h("a", { href: address }, measurement));
    });
    this.#links = new Map(measurements.map((measurement, n) => [measurement, links[n]]));
    place(this.#more.lastChild, links);
    this.#more.hidden = links.length === 0;
  }

  #ranges() {
    const choose = (range) => () => {
      this.#range = range;
      remember(hostAddress(this.#host, { range: range === RANGES[0] ? null : range.key }));
      this.#poller.anew();
    };
    const choices = RANGES.map((range) => {
      const input = h("input", { type: "radio", name: "range", onchange: choose(range) });
      this.#choices.set(range, input);
      return h("label", {}, input, h("span", {}, range.label));
    });
    return h("fieldset", { class: "segments" }, h("legend", {}, "Range"), choices);
  }

  #addFact(name) {
    const value = h("dd", {}, NONE);
    this.#factOf.set(name, value);
    this.#facts.append(h("div", { hidden: name !== SEEN }, h("dt", {}, name), value));
  }

  #tick() {
    const seen = this.#factOf.get(SEEN);
    write(seen, this.#seen === null ? NONE : `${age(now() - this.#seen)} ago`);
    seen.title = this.#seen === null ? "" : dateAndTime(this.#seen);
  }
}

/** A measurement may be called as one of our panels is. */
function keyOf(panel) {
  return `${panel.measurement} ${panel.title}`;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // written by hand: a % that encodes nothing stands for itself
  }
}
