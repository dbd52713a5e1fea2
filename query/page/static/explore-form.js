// The explorer's form: choosing what to ask.

import { choice, h, place } from "./dom.js";
import { FUNCTIONS, HOST, RANGES, split, STEPS } from "./question.js";

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
  #choices = h("div", { class: "row" });

  constructor(asked) {
    const submit = (event) => {
      event.preventDefault();
      asked(this.#read());
    };
    this.#measurements.addEventListener("change", () => {
      asked({ ...this.#read(), fields: [], by: HOST });
    });
    this.#narrow.addEventListener("input", () => this.#hideOthers());
    this.element = h(
      "form",
      { class: "explore", onsubmit: submit },
      h("label", {}, h("span", {}, "Measurement"), this.#measurements),
      h("fieldset", {}, h("legend", {}, "Fields"), this.#narrow, this.#fields),
      this.#choices,
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
    this.#match.value = question.match.join("\n");
    const functions = FUNCTIONS.map((name) => [name, name]);
    const set = (key) => (value) => {
      this.#question = { ...this.#question, [key]: value };
    };
    this.#choices.replaceChildren(
      choice("Function", functions, question.fn, set("fn")),
      choice("Range", RANGES, question.start, set("start")),
      choice("Window", STEPS, question.step, set("step")),
    );
  }

  /** Offers measurements, and returns the one that is chosen: that of the question, else the first. */
  offer(measurements) {
    const options = measurements.map((name) => h("option", { value: name }, name));
    this.#measurements.replaceChildren(...options);
    if (measurements.includes(this.#question.measurement)) {
      this.#measurements.value = this.#question.measurement;
    }
    return this.#measurements.value;
  }

  /** Offers the fields and the tags of the measurement, the question's checked; returns what it holds then. */
  offerNames(fields, tags) {
    const { fields: wanted, by } = this.#question;
    const one = fields.find((name) => TELLING.has(name)) ?? fields[0];
    const isThere = fields.some((name) => wanted.includes(name));
    fill(this.#fields, fields, isThere ? wanted : [one]);
    fill(this.#tags, [...new Set([...tags, ...split(by)])], split(by));
    this.#narrow.hidden = fields.length <= MANY_FIELDS;
    this.#narrow.value = "";
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

/** Boxes to check in place of those before; the first that is checked is in sight. */
function fill(element, names, checked) {
  const boxes = names.map((name) =>
    h("label", {}, h("input", { type: "checkbox", value: name, checked: checked.includes(name) }), h("span", {}, name)),
  );
  place(element, boxes);
  const seen = boxes.find((box) => checked.includes(box.textContent));
  element.scrollTop = seen ? seen.offsetTop - element.offsetTop : 0;
}

function checkedIn(element) {
  return [...element.querySelectorAll("input:checked")].map((box) => box.value);
}
