// An answer in the explorer: the chart, the table, the curl command and the SQL.

import { hostAddress } from "./addresses.js";
import { curlOf } from "./curl.js";
import { h, write } from "./dom.js";
import { allDigits, count, dateAndTime, NONE, sixDigits, UNITS } from "./format.js";
import { Grid } from "./grid.js";
import { split, STEP_MS } from "./question.js";
import { seriesOf } from "./series.js";
import { sqlOf } from "./sql.js";
import { TimeChart } from "./timechart.js";

const PERCENT = /percent$|^usage_/;
/** Functions whose value is of another kind than the points'. */
const OTHERS = new Set(["sum", "count", "rate", "increase"]);

/** What is shown of an answer; `show` replaces what was there. */
export class ExploreAnswer {
  #state = h("p", { class: "note", role: "status" });
  #parts = h("div");
  #chart = null;
  element = h("div", { class: "answer" }, this.#state, this.#parts);

  dispose() {
    this.#chart?.dispose();
    this.#chart = null;
  }

  clear() {
    this.dispose();
    write(this.#state, "");
    this.#parts.replaceChildren();
  }

  /** `columns` are the columns of the question's fields in the measurement's view. */
  async show(question, columns, answer) {
    this.clear();
    const rows = rowsOf(answer);
    write(
      this.#state,
      `${count(answer.series.length)} series, ${count(rows.length)} rows, from ${answer.source.join(" and ")}`,
    );
    this.#parts.append(...(answer.warnings ?? []).map((warning) => h("p", { class: "note warn" }, `Warning: ${warning}.`)));
    if (question.step) {
      this.#chart = new TimeChart({ title: `${question.measurement}, ${question.fn}`, unit: unitOf(question) });
      this.#parts.append(this.#chart.element);
    }
    this.#parts.append(
      tableOf(question, answer, rows),
      command("curl", curlOf(question, new URL(".", location.href).href)),
      command("SQL", sqlOf(question, columns, answer)),
    );
    if (question.step) {
      const step = STEP_MS[question.step];
      const start = Math.floor(Date.parse(answer.start) / step) * step; // where the first window begins
      const range = { start, end: Date.parse(answer.end), step };
      const called = (metric) => metric.slice(question.measurement.length + 1);
      await this.#chart.show(seriesOf(answer, called), range);
    }
  }
}

/** One row for each group and window: `{key, time, tags, values}`. */
function rowsOf(answer) {
  return answer.series.flatMap((one, n) => {
    if (one.points) {
      return one.points.map(([time, ...values]) => ({
        key: `${n} ${time}`,
        time: Date.parse(time),
        tags: one.tags,
        values,
      }));
    }
    const values = one.values ? answer.metric.map((metric) => one.values[metric][answer.fn[0]]) : [one.value];
    return [{ key: String(n), time: null, tags: one.tags, values }];
  });
}

function tableOf(question, answer, rows) {
  const time = {
    key: "time",
    label: "Window from",
    value: (row) => row.time,
    render: (cell, row) => write(cell, dateAndTime(row.time)),
  };
  const tags = split(question.by).map((tag) => ({
    key: `tag ${tag}`,
    label: tag,
    value: (row) => row.tags[tag],
    render: (cell, row) => renderTag(cell, tag, row.tags[tag]),
  }));
  const values = question.fields.map((field, n) => ({
    key: `value ${n}`,
    label: `${question.fn} ${field}`,
    numeric: true,
    value: (row) => row.values[n],
    render: (cell, row) => renderValue(cell, row.values[n]),
  }));
  const columns = [...(question.step ? [time] : []), ...tags, ...values];
  const grid = new Grid({
    caption: "Answer",
    columns,
    keyOf: (row) => row.key,
    size: 25,
    sort: { key: columns[0].key, descending: Boolean(question.step) || columns[0].numeric === true },
  });
  grid.show(rows);
  return grid.element;
}

/** A number that can be read at a glance; pointing at it shows all of its digits. */
function renderValue(cell, value) {
  write(cell, value === null ? NONE : sixDigits(value));
  cell.title = value === null ? "" : allDigits(value);
}

function renderTag(cell, tag, value) {
  if (tag === "host" && value !== "") {
    cell.replaceChildren(h("a", { href: hostAddress(value) }, value));
  } else {
    write(cell, value === "" ? NONE : value);
  }
}

function unitOf({ fn, fields }) {
  return !OTHERS.has(fn) && fields.every((field) => PERCENT.test(field)) ? UNITS.percent : UNITS.number;
}

/** A command with a button that copies it. */
function command(name, text) {
  const code = h("code", {}, text);
  const done = h("span", { role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      write(done, "copied");
    } catch {
      getSelection().selectAllChildren(code); // no clipboard here: what is selected can be copied by hand
      write(done, "selected");
    }
  };
  const head = h(
    "div",
    { class: "head" },
    h("h2", {}, name),
    done,
    h("button", { type: "button", onclick: copy, "aria-label": `Copy the ${name}` }, "Copy"),
  );
  return h("section", { class: "command", "aria-label": name }, head, h("pre", { tabindex: "0", role: "group", "aria-label": `${name}, text` }, code));
}
