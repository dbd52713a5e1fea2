// Whether the service answers, said at the top of the page: what failed, why, and when it is tried again.

import { Failures, RequestError } from "./api.js";
import { count, timeOfDay } from "./format.js";
import { h, write } from "./dom.js";

const SHOWN = 3;
const LOST = "The query service does not answer.";
const PARTLY = "Not everything could be asked.";

/** The state of the contact with the service, in the elements that index.html has for it. */
export class Contact {
  #state = document.getElementById("contact-state");
  #time = document.getElementById("contact-time");
  #trouble = document.getElementById("trouble");
  #failures = new Map();
  #lostAt = null;
  #told = "";
  #countdown = 0;

  /** A view was left: what it had to say goes with it. */
  reset() {
    this.#failures.clear();
    this.#lostAt = null;
    this.#clear();
    this.#say("connecting", "Connecting", "");
  }

  /** The work of a poller was done. */
  succeeded(poller) {
    this.#failures.delete(poller);
    if (this.#failures.size === 0) {
      this.#lostAt = null;
      this.#clear();
      this.#say("live", "Live", timeOfDay(Date.now()));
    } else {
      this.#tell();
    }
  }

  /** The work of a poller failed with `error`, and is done again in `pause` milliseconds. */
  failed(poller, error, pause) {
    const errors = error instanceof Failures ? error.errors : [error];
    for (const one of errors) {
      if (!(one instanceof RequestError)) {
        console.error(one); // a fault of the page's own
      }
    }
    this.#failures.set(poller, { errors, until: Date.now() + pause });
    this.#lostAt ??= Date.now();
    this.#tell();
  }

  /** Says it once: a failure that repeats moves the time of the next try, and is not announced again. */
  #tell() {
    const errors = [...this.#failures.values()].flatMap((failure) => failure.errors);
    const isLost = errors.every((one) => one instanceof RequestError && one.status === 0);
    this.#say("lost", isLost ? "No contact" : "In trouble", `since ${timeOfDay(this.#lostAt)}`);
    const messages = [...new Set(errors.map((error) => error.message))];
    if (messages.join("\n") === this.#told) {
      return;
    }
    this.#clear();
    this.#told = messages.join("\n");
    const when = h("span", { "aria-hidden": "true" });
    const tick = () => {
      const until = Math.min(...[...this.#failures.values()].map((failure) => failure.until));
      write(when, `Trying again in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`);
    };
    tick();
    this.#countdown = setInterval(tick, 1000);
    const rest = messages.length - SHOWN;
    this.#trouble.append(
      h("p", {}, h("strong", {}, isLost ? LOST : PARTLY), " What is shown is from before. ", when),
      h(
        "ul",
        {},
        messages.slice(0, SHOWN).map((message) => h("li", {}, message)),
        rest > 0 && h("li", {}, `and ${count(rest)} more`),
      ),
      h("button", { type: "button", onclick: () => this.#retry() }, "Try now"),
    );
    this.#trouble.hidden = false;
  }

  #retry() {
    for (const poller of this.#failures.keys()) {
      poller.now();
    }
  }

  #say(state, text, time) {
    document.body.dataset.contact = state;
    write(this.#state, text);
    write(this.#time, time);
  }

  #clear() {
    clearInterval(this.#countdown);
    this.#told = "";
    this.#trouble.hidden = true;
    this.#trouble.replaceChildren();
  }
}
