// The explorer's form: choosing what to ask.

import { choice, h } from "./dom.js";
import { FUNCTIONS, RANGES, split, STEPS, usualBy } from "./question.js";

const MANY_FIELDS = 12;
/** Fields that say most of what agents push; of other measurements the first is asked for. */
const TELLING = new Set(["usage_user", "used_percent", "load1", "read_bytes", "bytes_recv"]);

/** The form of a question. `asked(question)` is called when it is sent, or another measurement is chosen. */
export class ExploreForm {
  #question;
  #measurements = h("select");
  #fields = h("div", { class: "checks" });
  #narrow = h("input", {
    type: "search",
    "aria-label": "Find a field",
    placeholder: "find a field",
    autocomplete: "off",
    hidden: true,
  });
  #tags = h("div", { class: "checks" });
  #match = h("textarea", { rows: "2", spellcheck: "false", placeholder: "host=~web-.*" });
  #choices = new Map();
  /** Whether boxes were checked by hand since the question was filled in. */
  #isTouched = false;

  constructor(asked) {
    const submit = (event) => {
      event.preventDefault();
      asked(this.#read());
    };
    this.#measurements.addEventListener("change", () => {
      asked({ ...this.#read(), fields: [], by: null });
    });
    this.#narrow.addEventListener("input", () => this.#hideOthers());
    for (const boxes of [this.#fields, this.#tags]) {
      boxes.addEventListener("change", () => {
        this.#isTouched = true;
      });
    }
    this.element = h(
      "form",
      { class: "explore", onsubmit: submit },
      h("label", {}, h("span", {}, "Measurement"), this.#measurements),
      h("fieldset", {}, h("legend", {}, "Fields"), this.#narrow, this.#fields),
      h(
        "div",
        { class: "row" },
        this.#choice("fn", "Function", FUNCTIONS.map((name) => [name, name])),
        this.#choice("start", "Range", RANGES),
        this.#choice("step", "Window", STEPS),
      ),
      h("fieldset", {}, h("legend", {}, "Group by"), this.#tags, h("small", {}, "none: all series together")),
      h(
        "label",
        {},
        h("span", {}, "Only where"),
        this.#match,
        h("small", {}, "tag=value, !=, =~ or !~ a regular expression; one a line"),
      ),
      h("button", { type: "submit", class: "main" }, "Show"),
    );
  }

  /** Fills in a question. */
  set(question) {
    this.#question = question;
    this.#isTouched = false;
    this.#match.value = question.match.join("\n");
    for (const [key, select] of this.#choices) {
      select.value = question[key];
    }
  }

  #choice(key, label, choices) {
    const set = (value) => {
      this.#question = { ...this.#question, [key]: value };
    };
    const element = choice(label, choices, null, set);
    this.#choices.set(key, element.querySelector("select"));
    return element;
  }

  /** Offers measurements, and returns the one that is chosen: that of the question, or the first if it has none. */
  offer(measurements) {
    const wanted = this.#question.measurement || measurements[0];
    const options = [...new Set([...measurements, wanted])].map((name) => h("option", { value: name }, name));
    this.#measurements.replaceChildren(...options);
    this.#measurements.value = wanted;
    return wanted;
  }

  /**
   * Offers the fields (names) and the tags (`{tag, series}`) of the measurement, the question's checked, unless somebody
   * has checked others meanwhile; returns what it holds then. What the question wants and is not there is offered as
   * well: the service says that there is no such field.
   */
  offerNames(fields, tags) {
    const { fields: wanted } = this.#question;
    const by = split(this.#question.by ?? usualBy(tags, this.#question.match));
    const usual = [fields.find((name) => TELLING.has(name)) ?? fields[0]].filter(Boolean);
    const isKept = this.#isTouched;
    const isAnother = fill(this.#fields, [...new Set([...fields, ...wanted])], wanted.length > 0 ? wanted : usual, isKept);
    fill(this.#tags, [...new Set([...tags.map((one) => one.tag), ...by])], by, isKept);
    if (isAnother) {
      this.#narrow.hidden = fields.length <= MANY_FIELDS;
      this.#narrow.value = "";
    }
    return this.#read();
  }

  #hideOthers() {
    for (const label of this.#fields.children) {
      label.hidden = !label.textContent.toLowerCase().includes(this.#narrow.value.toLowerCase());
    }
  }

  #read() {
    const lines = this.#match.value.split("\n").map((line) => line.trim());
    return {
      ...this.#question,
      measurement: this.#measurements.value,
      fields: checkedIn(this.#fields),
      by: checkedIn(this.#tags).join(","),
      match: lines.filter(Boolean),
    };
  }
}

/**
 * Checks the boxes of these names. Boxes that are there stay, and keep the focus, and what is checked of them if
 * `isKept`; where others take their place, the first that is checked is in sight, and the answer is true.
 */
function fill(element, names, checked, isKept) {
  const known = [...element.children].map((box) => box.textContent);
  const isAnother = names.length !== known.length || names.some((name, n) => name !== known[n]);
  if (isAnother) {
    element.replaceChildren(...names.map(boxOf));
  }
  if (isAnother || !isKept) {
    for (const input of element.querySelectorAll("input")) {
      input.checked = checked.includes(input.value);
    }
  }
  if (isAnother) {
    const seen = element.querySelector("input:checked");
    element.scrollTop = seen ? seen.parentElement.offsetTop - element.offsetTop : 0;
  }
  return isAnother;
}

function boxOf(name) {
  return h("label", {}, h("input", { type: "checkbox", value: name }), h("span", {}, name));
}

function checkedIn(element) {
  return [...element.querySelectorAll("input:checked")].map((box) => box.value);
}
