// A chart over time as a figure: the curves, a legend that tells the newest values, and the same as a table.

import { h, place, write } from "./dom.js";
import { dateAndTime, NONE } from "./format.js";
import { palette } from "./palette.js";
import { tickLabel, ticks } from "./ticks.js";

const DRAWN = 10;
const TABLE_ROWS = 500;
const TICK_WIDTH = 70;
const LEAST_GAP_MS = 90_000;

let library = null;

/** Chart.js, once a chart is wanted. */
async function charts() {
  library ??= import("./chart.bundle.js").then(() => globalThis.Chart);
  try {
    return await library;
  } catch {
    library = null;
    throw new Error("the chart library did not load: load the page again");
  }
}

/**
 * A figure with a title. `unit` is one of `UNITS`; `isStacked` piles the curves; `top` fixes the end of the axis.
 * Series are `{label, points}` with points of [milliseconds, number].
 */
export class TimeChart {
  #canvas = h("canvas", { role: "img" });
  #message = h("p", { class: "note" });
  #legend = h("ul", { class: "legend" });
  #table = h("table");
  #details = h(
    "details",
    {},
    h("summary", {}, "Table"),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, this.#table),
  );
  #hidden = new Set();
  #series = [];
  #range = null;
  #chart = null;
  #isDisposed = false;
  #theme = () => this.#draw();

  constructor({ title, unit, isStacked = false, top = null, note = "" }) {
    this.title = title;
    this.unit = unit;
    this.isStacked = isStacked;
    this.top = top;
    this.#canvas.setAttribute("aria-label", title);
    const heading = h("figcaption", {}, h("h2", {}, title), h("span", { class: "note" }, note));
    this.#details.addEventListener("toggle", () => this.#fillTable());
    this.element = h(
      "figure",
      { class: "chart" },
      heading,
      h("div", { class: "plot" }, this.#canvas, this.#message),
      this.#legend,
      this.#details,
    );
    document.addEventListener("themechange", this.#theme);
  }

  dispose() {
    document.removeEventListener("themechange", this.#theme);
    this.#chart?.destroy();
    this.#isDisposed = true;
  }

  /** Shows series over `{start, end, step}`, in milliseconds. */
  async show(series, range) {
    const Chart = await charts();
    if (this.#isDisposed) {
      return;
    }
    this.#range = range;
    this.#series = series.slice(0, DRAWN);
    const isEmpty = series.every((one) => one.points.length === 0);
    this.#canvas.hidden = isEmpty;
    write(this.#message, isEmpty ? "No points in this range." : "");
    this.#chart ??= new Chart(this.#canvas, { type: "line", data: { datasets: [] }, options: this.#options() });
    this.#draw();
    this.#fillTable();
    const rest = series.length - this.#series.length;
    this.#legend.dataset.rest =
      rest > 0 ? `The ${DRAWN} with the highest values; the table below has all ${series.length}.` : "";
  }

  #draw() {
    if (!this.#chart || this.#isDisposed) {
      return;
    }
    const colours = palette();
    this.#chart.data.datasets = this.#series.map((series, n) =>
      this.#dataset(series, colours.series[n % colours.series.length]),
    );
    this.#chart.options = this.#options(colours);
    this.#chart.update("none");
    this.#describe();
    this.#fillLegend(colours);
  }

  #dataset(series, colour) {
    return {
      label: series.label,
      data: series.points.map(([x, y]) => ({ x, y })),
      hidden: this.#hidden.has(series.label),
      borderColor: colour,
      backgroundColor: this.isStacked ? `color-mix(in srgb, ${colour} 55%, transparent)` : colour,
      fill: this.isStacked ? "stack" : false,
      pointRadius: series.points.length < 3 ? 2 : 0,
    };
  }

  #options({ ink, line, panel } = palette()) {
    const { start, end, step } = this.#range;
    const font = { size: textSize(), family: "system-ui, sans-serif" };
    return {
      animation: false,
      maintainAspectRatio: false,
      parsing: false,
      normalized: true,
      spanGaps: Math.max(3 * step, LEAST_GAP_MS),
      interaction: { mode: "nearest", axis: "x", intersect: false },
      elements: { line: { borderWidth: 1.5, tension: 0 }, point: { hitRadius: 0, hoverRadius: 3 } },
      scales: {
        x: {
          type: "linear",
          min: start,
          max: end,
          grid: { display: false },
          border: { color: line },
          ticks: { color: ink, font, maxRotation: 0, includeBounds: false, autoSkip: false, callback: tickLabel },
          afterBuildTicks: (axis) => {
            axis.ticks = ticks(start, end, axis.width / TICK_WIDTH).map((value) => ({ value }));
          },
        },
        y: {
          beginAtZero: true,
          stacked: this.isStacked,
          max: this.top ?? undefined,
          border: { display: false },
          grid: { color: line, tickLength: 0 },
          ticks: {
            color: ink,
            font,
            padding: 6,
            maxTicksLimit: 5,
            precision: this.unit.precision,
            stepSize: this.#step(),
            callback: (value) => this.unit.axis(value),
          },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          backgroundColor: panel,
          borderColor: line,
          borderWidth: 1,
          titleColor: ink,
          bodyColor: ink,
          cornerRadius: 2,
          boxWidth: 8,
          boxHeight: 8,
          callbacks: {
            title: (items) => (items.length > 0 ? dateAndTime(items[0].parsed.x) : ""),
            label: (item) => `${item.dataset.label}  ${this.unit.write(item.parsed.y)}`,
          },
        },
      },
    };
  }

  /** Ticks at powers of two, where thousands are 1,024; else Chart.js chooses. */
  #step() {
    if (!this.unit.base) {
      return undefined;
    }
    const highest = this.isStacked
      ? this.#series.reduce((sum, one) => sum + highestOf(one), 0)
      : Math.max(0, ...this.#series.map(highestOf));
    return highest > 0 ? 2 ** Math.ceil(Math.log2(highest / 4)) : undefined;
  }

  #describe() {
    const { start, end } = this.#range;
    const newest = this.#series.map((series) => `${series.label} ${this.#newest(series)}`).join(", ");
    this.#canvas.setAttribute(
      "aria-label",
      `${this.title}, ${dateAndTime(start)} to ${dateAndTime(end)}. Newest: ${newest || "none"}.`,
    );
  }

  #newest(series) {
    return series.points.length > 0 ? this.unit.write(series.points.at(-1)[1]) : NONE;
  }

  #fillLegend(colours) {
    const items = this.#series.map((series, n) => {
      const item = this.#legend.children[n] ?? this.#makeLegendItem();
      const [swatch, label, value] = item.firstChild.children;
      swatch.style.background = colours.series[n % colours.series.length];
      write(label, series.label);
      write(value, this.#newest(series));
      item.firstChild.ariaPressed = String(!this.#hidden.has(series.label));
      return item;
    });
    place(this.#legend, items);
  }

  #makeLegendItem() {
    const toggle = () => {
      const label = button.children[1].textContent;
      if (!this.#hidden.delete(label)) {
        this.#hidden.add(label);
      }
      this.#draw();
    };
    const button = h(
      "button",
      { type: "button", onclick: toggle },
      h("span", { class: "swatch" }),
      h("span"),
      h("span", { class: "value" }),
    );
    return h("li", {}, button);
  }

  #fillTable() {
    if (!this.#details.open) {
      this.#table.replaceChildren();
      return;
    }
    const rows = new Map();
    this.#series.forEach((series, n) => {
      for (const [time, value] of series.points) {
        const row = rows.get(time) ?? Array(this.#series.length).fill(null);
        row[n] = value;
        rows.set(time, row);
      }
    });
    const times = [...rows.keys()].toSorted((one, other) => other - one).slice(0, TABLE_ROWS);
    const body = times.map((time) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, dateAndTime(time)),
        rows.get(time).map((value) => h("td", { class: "numeric" }, value === null ? NONE : this.unit.write(value))),
      ),
    );
    const heads = this.#series.map((series) => h("th", { scope: "col", class: "numeric" }, series.label));
    this.#table.replaceChildren(
      h("caption", {}, `${this.title}, newest first`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), heads)),
      h("tbody", {}, body),
    );
  }
}

/** The size of text on the canvas, which grows with that of the page, in pixels. */
function textSize() {
  return 0.78 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
}

function highestOf(series) {
  return series.points.reduce((highest, [, value]) => Math.max(highest, value), 0);
}
