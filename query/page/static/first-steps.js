// What an empty database is shown with: how to push the first point.

import { h } from "./dom.js";

const INGEST_PORT = 8086;

/** A section with a command to copy. */
export function firstSteps() {
  const ingest = `${location.hostname}:${INGEST_PORT}`;
  const point = '{"host": "web-1", "cpu_usage": 12.5, "memory_usage": 71.0}';
  return h(
    "section",
    { class: "steps" },
    h("h2", {}, "No host has sent anything yet"),
    h("p", {}, "Push a first point. It appears here by itself, within seconds:"),
    h("pre", {}, h("code", {}, `curl ${ingest}/api/v1/points -d '${point}'`)),
    h("p", {}, "For the numbers of a whole machine, run its agent there, or point Telegraf at the same address:"),
    h("pre", {}, h("code", {}, `AGENT_URL=http://${ingest} python -m ingest.agent`)),
    h("p", { class: "note" }, `Ingest listens on port ${INGEST_PORT} unless INGEST_PORT says otherwise.`),
  );
}
