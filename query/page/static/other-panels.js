// What the page of a host shows that sends nothing of what Telegraf and the agent push: its measurements as they are.

import { UNITS } from "./format.js";
import { HOST_TAGS } from "./question.js";

const MEASUREMENTS = 12;
const FIELDS = 5;
const TAGS = 5;
const SERIES = 10;

/** Panels for measurements that a host has sent: of each some fields, for each of its tags' values. */
export async function otherPanels(measurements, catalog, signal) {
  return await Promise.all(measurements.slice(0, MEASUREMENTS).map((name) => panelOf(name, catalog, signal)));
}

async function panelOf(measurement, catalog, signal) {
  const [fields, tags] = await Promise.all([catalog.fields(measurement, signal), catalog.tags(measurement, signal)]);
  return {
    title: measurement,
    note: fields.length > FIELDS ? `${FIELDS} of its ${fields.length} fields` : "",
    measurement,
    fields: fields.slice(0, FIELDS).map((one) => one.field),
    by: tags
      .map((one) => one.tag)
      .filter((tag) => !HOST_TAGS.has(tag)) // which tell nothing apart on a host's page
      .slice(0, TAGS)
      .join(","),
    limit: SERIES,
    unit: UNITS.number,
  };
}
