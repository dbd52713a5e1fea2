// A chart over time as a figure: the curves, a legend that tells the newest values, and the same as a table.

import { RequestError } from "./api.js";
import { h, place, write } from "./dom.js";
import { count, dateAndTime, NONE } from "./format.js";
import { palette } from "./palette.js";
import { tickLabel, ticks } from "./ticks.js";

const DRAWN = 10;
const TABLE_SERIES = 100;
const TABLE_ROWS = 500;
const TICK_WIDTH = 70;
const LEAST_GAP_MS = 90_000;

const LINE = 1.5;
const THICK_LINE = 3.5;
/** Lines and gaps, for who cannot tell the series by their colours. */
const DASHES = [[], [8, 3], [2, 3], [8, 3, 2, 3], [14, 4]];
const noColours = matchMedia("(forced-colors: active), (prefers-contrast: more)");

let library = null;
let failures = 0;

/** Chart.js, once a chart is wanted. */
async function charts() {
  // A browser does not ask again for a module that it could not load: another address is another module.
  library ??= import(failures === 0 ? "./chart.bundle.js" : `./chart.bundle.js?failures=${failures}`);
  const loading = library;
  try {
    await loading;
  } catch {
    if (library === loading) {
      library = null;
      failures += 1;
    }
    throw new RequestError("GET chart.bundle.js", "did not load; if that stays so, load the page again");
  }
  return globalThis.Chart;
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
  );
  #hidden = new Set();
  #lit = null;
  #series = [];
  #drawn = [];
  #places = new Map();
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
    this.#details.append(
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `${title}, table` }, this.#table),
    );
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
    this.#series = series;
    this.#drawn = highest(series, DRAWN);
    this.#takePlaces();
    const isEmpty = series.every((one) => one.points.length === 0);
    this.#canvas.hidden = isEmpty;
    write(this.#message, isEmpty ? "No points in this range." : "");
    this.#chart ??= new Chart(this.#canvas, { type: "line", data: { datasets: [] }, options: this.#options() });
    this.#draw();
    this.#fillTable();
    this.#legend.dataset.rest =
      series.length > DRAWN ? `${DRAWN} of ${count(series.length)} series: those with the highest values.` : "";
  }

  /** A series keeps its colour for as long as it is drawn, whichever others come and go. */
  #takePlaces() {
    const kept = new Map(this.#drawn.map(({ label }) => [label, this.#places.get(label)]));
    const taken = new Set(kept.values());
    const free = Array.from({ length: DRAWN }, (_, n) => n).filter((n) => !taken.has(n));
    this.#places = new Map([...kept].map(([label, n]) => [label, n ?? free.shift()]));
  }

  #draw() {
    if (!this.#chart || this.#isDisposed) {
      return;
    }
    const colours = palette();
    this.#chart.data.datasets = this.#drawn.map((series) => this.#dataset(series, this.#places.get(series.label), colours));
    this.#chart.options = this.#options(colours);
    this.#chart.update("none");
    this.#describe();
    this.#fillLegend(colours);
  }

  #dataset(series, n, colours) {
    const colour = colours.series[n];
    return {
      label: series.label,
      data: series.points.map(([x, y]) => ({ x, y })),
      hidden: this.#hidden.has(series.label),
      borderColor: colour,
      borderWidth: series.label === this.#lit ? THICK_LINE : LINE,
      borderDash: noColours.matches ? DASHES[n % DASHES.length] : [],
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
      elements: { line: { tension: 0 }, point: { hitRadius: 0, hoverRadius: 3 } },
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
          beginAtZero: this.unit.isFromZero ?? true,
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
    const top = this.isStacked
      ? this.#drawn.reduce((sum, one) => sum + highestOf(one), 0)
      : Math.max(0, ...this.#drawn.map(highestOf));
    return top > 0 ? 2 ** Math.ceil(Math.log2(top / 4)) : undefined;
  }

  #describe() {
    const { start, end } = this.#range;
    const newest = this.#drawn.map((series) => `${series.label} ${this.#newest(series)}`).join(", ");
    this.#canvas.setAttribute(
      "aria-label",
      `${this.title}, ${dateAndTime(start)} to ${dateAndTime(end)}. Newest: ${newest || "none"}.`,
    );
  }

  #newest(series) {
    return series.points.length > 0 ? this.unit.write(series.points.at(-1)[1]) : NONE;
  }

  #fillLegend(colours) {
    const items = this.#drawn.map((series, n) => {
      const item = this.#legend.children[n] ?? this.#makeLegendItem();
      const [swatch, label, value] = item.firstChild.children;
      swatch.style.background = colours.series[this.#places.get(series.label)];
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
    const light = (isLit) => () => {
      this.#lit = isLit ? button.children[1].textContent : null;
      this.#draw();
    };
    const button = h(
      "button",
      {
        type: "button",
        onclick: toggle,
        onmouseenter: light(true),
        onfocus: light(true),
        onmouseleave: light(false),
        onblur: light(false),
      },
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
    const shown = this.#series.length > TABLE_SERIES ? this.#drawn : this.#series;
    const rows = new Map();
    shown.forEach((series, n) => {
      for (const [time, value] of series.points) {
        const row = rows.get(time) ?? Array(shown.length).fill(null);
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
    const heads = shown.map((series) => h("th", { scope: "col", class: "numeric" }, series.label));
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

/** Those of the series that have the highest values, at most `most` of them, in their order. */
function highest(series, most) {
  if (series.length <= most) {
    return series;
  }
  const tops = new Map(series.map((one) => [one, highestOf(one, -Infinity)]));
  const chosen = new Set(series.toSorted((one, other) => tops.get(other) - tops.get(one)).slice(0, most));
  return series.filter((one) => chosen.has(one));
}

function highestOf(series, least = 0) {
  return series.points.reduce((top, [, value]) => Math.max(top, value), least);
}
