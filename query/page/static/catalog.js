// What there is to ask about: measurements and their fields.

import { get, RequestError } from "./api.js";

const STALE_MS = 60_000;

/** Measurements and fields as they were at most a minute ago; a page asks for what exists only. */
export class Catalog {
  #fields = new Map();

  /** The names of all measurements. */
  async measurements(signal) {
    const answer = await get("api/v1/measurements", {}, signal);
    return answer.measurements.map((one) => one.measurement);
  }

  /** The fields of a measurement: `{field, metric, column}`; none when there is no such measurement. */
  async fields(measurement, signal) {
    const known = this.#fields.get(measurement);
    if (known && Date.now() - known.at < STALE_MS) {
      return known.fields;
    }
    const fields = await askFields(measurement, signal);
    this.#fields.set(measurement, { at: Date.now(), fields });
    return fields;
  }

  /** Those of `names` that are fields of the measurement, in their order. */
  async known(measurement, names, signal) {
    const fields = new Set((await this.fields(measurement, signal)).map((one) => one.field));
    return names.filter((name) => fields.has(name));
  }
}

async function askFields(measurement, signal) {
  try {
    return (await get("api/v1/fields", { measurement }, signal)).fields;
  } catch (error) {
    if (error instanceof RequestError && error.status === 404) {
      return [];
    }
    throw error;
  }
}
