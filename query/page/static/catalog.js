// What there is to ask about: measurements, their fields and their tags.

import { get } from "./api.js";

const MEASUREMENTS_MS = 5_000;
const NAMES_MS = 60_000;

/** Measurements as they were some seconds ago, and names in them as a minute ago: only what exists is asked for. */
export class Catalog {
  #answers = new Map();

  /** The names of all measurements. */
  async measurements(signal) {
    const answer = await this.#ask("api/v1/measurements", {}, MEASUREMENTS_MS, signal);
    return answer.measurements.map((one) => one.measurement);
  }

  /** The fields of a measurement: `{field, metric, column}`; none when there is no such measurement. */
  async fields(measurement, signal) {
    if (!(await this.measurements(signal)).includes(measurement)) {
      return [];
    }
    return (await this.#ask("api/v1/fields", { measurement }, NAMES_MS, signal)).fields;
  }

  /** The tags that series of a measurement have, `{tag, series}`; none when there is no such measurement. */
  async tags(measurement, signal) {
    if (!(await this.measurements(signal)).includes(measurement)) {
      return [];
    }
    return (await this.#ask("api/v1/tags", { measurement }, NAMES_MS, signal)).tags;
  }

  /** The names of the measurements that a host has sent. */
  async sentBy(host, signal) {
    const answer = await this.#ask("api/v1/measurements", { match: `host=${host}` }, NAMES_MS, signal);
    return answer.measurements.map((one) => one.measurement);
  }

  /** Those of `names` that are fields of the measurement, in their order. */
  async known(measurement, names, signal) {
    const fields = new Set((await this.fields(measurement, signal)).map((one) => one.field));
    return names.filter((name) => fields.has(name));
  }

  /** An answer that is no older than `most` milliseconds; who asks for the same meanwhile shares the request. */
  async #ask(path, parameters, most, signal) {
    const key = `${path} ${JSON.stringify(parameters)}`;
    const known = this.#answers.get(key);
    if (known && !known.isDoomed() && Date.now() - known.at < most) {
      return known.answer;
    }
    this.#forget();
    const answer = get(path, parameters, signal);
    let isAnswered = false;
    // A view that is left takes its requests with it: another one must not wait for those.
    const isDoomed = () => signal.aborted && !isAnswered;
    this.#answers.set(key, { at: Date.now(), answer, isDoomed });
    try {
      await answer;
      isAnswered = true;
    } catch (error) {
      this.#answers.delete(key);
      throw error;
    }
    return answer;
  }

  /** Lets go of what is too old to be used: somebody may look at thousands of hosts. */
  #forget() {
    for (const [key, { at }] of this.#answers) {
      if (Date.now() - at > NAMES_MS) {
        this.#answers.delete(key);
      }
    }
  }
}
