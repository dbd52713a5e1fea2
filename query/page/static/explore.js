// The explorer: a question, its answer as a chart and a table, and the same question as curl and SQL.

import { exploreAddress } from "./addresses.js";
import { get, RequestError } from "./api.js";
import { h, write } from "./dom.js";
import { ExploreAnswer } from "./explore-answer.js";
import { ExploreForm } from "./explore-form.js";
import { firstSteps } from "./first-steps.js";
import { Poller } from "./poller.js";
import { fromAddress, toAddress, toRequest } from "./question.js";

const EMPTY_EVERY_MS = 10_000;

/** The view at `#/explore`. The address holds the question, so that it can be kept and shared. */
export class Explore {
  title = "Explorer";
  #catalog;
  #question;
  #form = new ExploreForm((question) => this.#ask(question));
  #answer = new ExploreAnswer();
  #fault = h("p", { class: "fault", role: "alert" });
  #empty = firstSteps();
  #full;
  #poller;

  constructor(root, { query }, { catalog, contact }) {
    this.#catalog = catalog;
    this.#full = h(
      "div",
      { class: "explorer" },
      this.#form.element,
      h("section", { "aria-label": "Answer" }, this.#fault, this.#answer.element),
    );
    this.#full.hidden = true;
    this.#empty.hidden = true;
    root.append(h("h1", { tabindex: "-1" }, "Explorer"), this.#empty, this.#full);
    this.#poller = new Poller((signal) => this.#load(signal), null, contact);
    this.follow(query);
  }

  dispose() {
    this.#poller.stop();
    this.#answer.dispose();
  }

  /** Another question is in the address: by the form, a link, or the browser's way back. */
  follow(parameters) {
    this.#question = fromAddress(parameters);
    this.#form.set(this.#question);
    this.#poller.anew();
  }

  #ask(question) {
    const address = exploreAddress(toAddress(question));
    if (location.hash === address) {
      this.#poller.anew();
    } else {
      location.hash = address;
    }
  }

  async #load(signal) {
    const measurements = await this.#catalog.measurements(signal);
    this.#empty.hidden = measurements.length > 0;
    this.#full.hidden = measurements.length === 0;
    this.#poller.every = measurements.length > 0 ? null : EMPTY_EVERY_MS;
    if (measurements.length === 0) {
      return;
    }
    const measurement = this.#form.offer(measurements);
    const [fields, tags] = await Promise.all([
      this.#catalog.fields(measurement, signal),
      this.#catalog.tags(measurement, signal),
    ]);
    const names = fields.map((one) => one.field);
    const question = this.#form.offerNames(names, tags);
    if (!measurements.includes(measurement)) {
      this.#refuse(`There is no measurement ${measurement}: choose another one.`);
      return;
    }
    const columns = new Map(fields.map((one) => [one.field, one.column]));
    try {
      const answer = await get("api/v1/aggregate", toRequest(question), signal);
      write(this.#fault, "");
      await this.#answer.show(
        question,
        question.fields.map((field) => columns.get(field) ?? field),
        answer,
      );
    } catch (error) {
      if (!(error instanceof RequestError && error.isFaultOfRequest)) {
        throw error;
      }
      this.#refuse(error.message); // to ask it again would not help
    }
  }

  #refuse(why) {
    write(this.#fault, why);
    this.#answer.clear();
  }
}
