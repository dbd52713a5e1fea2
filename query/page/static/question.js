// The explorer's question: what its form holds, its address, and its request.

const HOST = "host";
/** Tags that ingest takes a host's name from. */
export const HOST_TAGS = new Set([HOST, "hostname", "host.name", "instance"]);
const METRIC_TAG = "__name__";
const MANY_SERIES = 2000;

export const FUNCTIONS = "avg min max sum count first last stddev median p90 p95 p99 rate increase delta".split(" ");

export const RANGES = [
  ["-15m", "15 minutes"],
  ["-1h", "1 hour"],
  ["-6h", "6 hours"],
  ["-24h", "24 hours"],
  ["-7d", "7 days"],
  ["-30d", "30 days"],
];

export const STEPS = [
  ["", "none: one value"],
  ["10s", "10 seconds"],
  ["1m", "1 minute"],
  ["5m", "5 minutes"],
  ["10m", "10 minutes"],
  ["1h", "1 hour"],
  ["1d", "1 day"],
];

export const STEP_MS = {
  "10s": 10_000,
  "1m": 60_000,
  "5m": 300_000,
  "10m": 600_000,
  "1h": 3_600_000,
  "1d": 86_400_000,
};

const DEFAULTS = { measurement: "", fn: "avg", by: null, step: "1m", start: "-1h" };

/**
 * The question that an address holds; what it does not say, or says wrongly, is the default. `by` is null where it
 * follows from the measurement's tags.
 */
export function fromAddress(parameters) {
  const told = (key, isAllowed) => {
    const value = parameters.get(key);
    return value !== null && isAllowed(value) ? value : DEFAULTS[key];
  };
  return {
    measurement: told("measurement", Boolean),
    fields: parameters.getAll("field"),
    fn: told("fn", (value) => FUNCTIONS.includes(value)),
    by: told("by", () => true),
    step: told("step", (value) => isOffered(STEPS, value)),
    start: told("start", (value) => isOffered(RANGES, value)),
    match: parameters.getAll("match"),
  };
}

function isOffered(choices, value) {
  return choices.some(([key]) => key === value);
}

/** The parameters of the address of a question. */
export function toAddress({ measurement, fields, fn, by, step, start, match }) {
  return { measurement, field: fields, fn, by, step, start, match };
}

/** The parameters of the request that asks it. */
export function toRequest({ measurement, fields, fn, by, step, start, match }) {
  return { metric: fields.map((field) => `${measurement}.${field}`), fn, by, step, start, match };
}

/**
 * What is grouped by unless somebody says so: hosts, or what else tells series apart. Of thousands of series that no
 * matcher narrows nothing, since an hour of a curve for each is more than an answer may have.
 */
export function usualBy(tags, match) {
  const names = tags.map((one) => one.tag);
  if (names.includes(METRIC_TAG)) {
    return METRIC_TAG; // samples of Prometheus, which are of another kind for each name
  }
  const usual = names.some((name) => HOST_TAGS.has(name)) ? HOST : names[0];
  const series = tags.find((one) => one.tag === usual)?.series ?? 0;
  return usual === undefined || (series > MANY_SERIES && match.length === 0) ? "" : usual;
}

/** The tags of a list with commas. */
export function split(by) {
  return [
    ...new Set(
      by
        .split(",")
        .map((tag) => tag.trim())
        .filter(Boolean),
    ),
  ];
}
