// A table that stays usable with thousands of rows: sorted, and a page at a time.

import { count } from "./format.js";
import { choice, h, place, write } from "./dom.js";

const SIZES = [25, 50, 100, 500];
const names = new Intl.Collator("en", { numeric: true });

/**
 * A table of rows, each known by a key. A column is `{key, label, numeric, hint, value(row), render(cell, row)}`:
 * `value` is what it is sorted by (null comes last in both directions), and `render` fills its cell, each time that
 * rows are given. Rows of one value stand by their keys, so that an order is the same whatever was looked at before.
 * The first column is the header of its row. `changed()` is called when another page, order or size was chosen.
 */
export class Grid {
  #rows = [];
  #elements = new Map();
  #heads = new Map();
  #absent = new Set();
  #page = 0;

  constructor({ caption, columns, keyOf, size = 50, sort, changed = () => {} }) {
    this.columns = columns;
    this.sort = sort;
    this.size = size;
    this.#first = { sort, size };
    this.#keyOf = keyOf;
    this.#changed = changed;
    this.#body = h("tbody");
    this.#place = h("span", { role: "status" });
    this.#pager = this.#makePager(caption);
    const heads = columns.map((column) => this.#makeHead(column));
    const table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), this.#body);
    this.element = h(
      "div",
      { class: "grid" },
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, table),
      this.#pager,
    );
  }

  #first;
  #keyOf;
  #changed;
  #body;
  #sizes;
  #place;
  #pager;

  /** Shows `rows` in place of those before. */
  show(rows) {
    this.#rows = rows;
    this.#draw();
  }

  /** Renders the rows that are seen once more, in the order that they have. */
  refresh() {
    this.#fill();
  }

  /** What is looked at, for an address: `{sort, rows, page}`, null where it is as at first. */
  get view() {
    const sort = written(this.sort);
    return {
      sort: sort === written(this.#first.sort) ? null : sort,
      rows: this.size === this.#first.size ? null : this.size,
      page: this.#page === 0 ? null : this.#page + 1,
    };
  }

  /** Looks at what an address says, in the rows that come next; what it says wrongly is as at first. */
  set view({ sort, rows, page }) {
    const told = { key: sort?.replace(/^-/, ""), descending: Boolean(sort?.startsWith("-")) };
    this.sort = this.#heads.has(told.key) ? told : this.#first.sort;
    this.size = SIZES.includes(Number(rows)) ? Number(rows) : this.#first.size;
    this.#sizes.value = String(this.size);
    this.#page = Math.max(1, Number.parseInt(page, 10) || 1) - 1;
  }

  /** Goes back to the first page, for rows that come next. */
  rewind() {
    this.#page = 0;
  }

  /** Leaves columns out, by their keys. */
  leaveOut(keys) {
    this.#absent = new Set(keys);
    for (const [key, head] of this.#heads) {
      head.hidden = this.#absent.has(key);
    }
  }

  /** The rows of the page that is seen. */
  get seen() {
    return this.#rows.slice(this.#page * this.size, (this.#page + 1) * this.size);
  }

  #draw() {
    const { value } = this.columns.find((column) => column.key === this.sort.key);
    this.#rows = this.#rows.toSorted(comparing(value, this.#keyOf, this.sort.descending));
    this.#page = Math.min(this.#page, this.#lastPage);
    this.#fill();
    for (const [key, head] of this.#heads) {
      const direction = this.sort.descending ? "descending" : "ascending";
      head.ariaSort = key === this.sort.key ? direction : "none";
    }
  }

  #fill() {
    const { seen } = this;
    const kept = new Map();
    for (const row of seen) {
      const key = this.#keyOf(row);
      const element = this.#elements.get(key) ?? this.#makeRow();
      this.columns.forEach((column, n) => {
        element.children[n].hidden = this.#absent.has(column.key);
        column.render(element.children[n], row, element);
      });
      kept.set(key, element);
    }
    this.#elements = kept;
    place(this.#body, [...kept.values()]);
    const first = this.#page * this.size;
    const total = count(this.#rows.length);
    write(this.#place, seen.length === 0 ? "None" : `${count(first + 1)} to ${count(first + seen.length)} of ${total}`);
    this.#pager.classList.toggle("single", this.#rows.length <= SIZES[0]);
    for (const button of this.#pager.querySelectorAll("button")) {
      // Not `disabled`: a button that was just pressed would lose the focus.
      button.ariaDisabled = String(this.#page === (Number(button.dataset.way) < 0 ? 0 : this.#lastPage));
    }
  }

  get #lastPage() {
    return Math.max(0, Math.ceil(this.#rows.length / this.size) - 1);
  }

  #makeRow() {
    const cells = this.columns.map((column, n) =>
      h(n === 0 ? "th" : "td", { scope: n === 0 ? "row" : null, class: classes(column) }),
    );
    return h("tr", {}, cells);
  }

  #makeHead(column) {
    const choose = () => {
      const again = this.sort.key === column.key;
      this.sort = { key: column.key, descending: again ? !this.sort.descending : Boolean(column.numeric) };
      this.#page = 0;
      this.#draw();
      this.#changed();
    };
    const button = h("button", { type: "button", title: column.hint, onclick: choose }, column.label);
    const head = h("th", { scope: "col", class: classes(column) }, button);
    this.#heads.set(column.key, head);
    return head;
  }

  #makePager(caption) {
    const turn = (text, label, way) =>
      h("button", { type: "button", "aria-label": label, "data-way": way, onclick: () => this.#turn(way) }, text);
    const resize = (value) => {
      this.size = Number(value);
      this.#page = 0;
      this.#fill();
      this.#changed();
    };
    const sizes = choice("Rows", SIZES.map((size) => [String(size), String(size)]), String(this.size), resize);
    this.#sizes = sizes.querySelector("select");
    return h(
      "nav",
      { class: "pager", "aria-label": `Pages of: ${caption}` },
      turn("«", "First page", -Infinity),
      turn("‹", "Page before", -1),
      this.#place,
      turn("›", "Next page", 1),
      turn("»", "Last page", Infinity),
      sizes,
    );
  }

  #turn(way) {
    this.#page = Math.min(Math.max(this.#page + way, 0), this.#lastPage);
    this.#fill();
    this.#changed();
  }
}

/** An order as addresses have it: the column's key, and a - before it when the largest comes first. */
function written({ key, descending }) {
  return `${descending ? "-" : ""}${key}`;
}

function classes(column) {
  return [column.numeric && "numeric", column.class].filter(Boolean).join(" ") || null;
}

function comparing(value, keyOf, descending) {
  const sign = descending ? -1 : 1;
  return (one, other) => {
    const [left, right] = [value(one), value(other)];
    if (left === right) {
      return compareTexts(keyOf(one), keyOf(other));
    }
    if (left === null || right === null) {
      return left === null ? 1 : -1;
    }
    return (typeof left === "string" ? compareTexts(left, right) : left - right) * sign;
  };
}

/** By the numbers in them; texts that a reader would call the same (`a1`, `a01`) still have an order. */
function compareTexts(left, right) {
  return names.compare(left, right) || Number(left > right) - Number(left < right);
}
