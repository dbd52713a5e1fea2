// The same question as SQL over the view of its measurement.

import { split } from "./question.js";

const OPERATORS = { "=": "=", "!=": "<>", "=~": "~", "!~": "!~" };
const MATCHER = /^([^=!]+)(=~|!~|!=|=)(.*)$/s;
const PLAIN = /^[a-z_][a-z0-9_]*$/;
const UNITS = { s: "seconds", m: "minutes", h: "hours", d: "days" };

const present = (field) => `FILTER (WHERE ${field} IS NOT NULL)`;
const percentile = (share) => (field) => `percentile_cont(${share}) WITHIN GROUP (ORDER BY ${field})`;

/** Functions of the points themselves. */
const FUNCTIONS = {
  first: (field) => `(array_agg(${field} ORDER BY m.time, s.id) ${present(field)})[1]`,
  last: (field) => `(array_agg(${field} ORDER BY m.time DESC, s.id) ${present(field)})[1]`,
  median: percentile(0.5),
  p90: percentile(0.9),
  p95: percentile(0.95),
  p99: percentile(0.99),
};

/** Functions of a series' growth from point to point: first of each series, then added up. */
const GROWTH = {
  increase: "m.increase",
  delta: "m.delta",
  rate: "m.increase / m.seconds",
};
/** How far before the range the point before a series' first is looked for, unless QUERY_LOOKBACK_SECONDS is set. */
const LOOKBACK = "'300 seconds'";

/**
 * Statements that give the answer's numbers: one, or one for each field where a series' growth is asked for. `columns`
 * are the columns of the question's fields in the view; the answer tells which moments its relative times meant.
 */
export function sqlOf(question, columns, answer) {
  const keys = keysOf(question);
  if (question.fn in GROWTH) {
    return columns.map((column, n) => growth(question, column, question.fields[n], keys, answer)).join("\n\n");
  }
  const values = columns.map((column, n) => `${valueOf(question.fn, column)} AS ${identifier(question.fields[n])}`);
  const isPresent = columns.map((column) => `m.${identifier(column)} IS NOT NULL`).join(" OR ");
  return [
    `SELECT ${[...keys, ...values].join(",\n       ")}`,
    `FROM metrics.${identifier(question.measurement)} AS m`,
    ...seriesOf(question),
    `WHERE ${[...rangeOf(answer), ...question.match.map(condition), `(${isPresent})`].join("\n  AND ")}`,
    ...grouping(keys),
  ]
    .join("\n")
    .concat(";");
}

function growth(question, column, field, keys, answer) {
  const [from, until] = rangeOf(answer);
  const value = `m.${identifier(column)}`;
  const bucket = question.step ? `${bucketOf(question)}, ` : "";
  const where = [`${from}::timestamptz - interval ${LOOKBACK}`, until, ...question.match.map(condition)];
  const outer = question.step ? ["m.bucket", ...keys.slice(1)] : keys;
  return `WITH points AS (
  SELECT m.time, m.host, m.tags, ${value} AS value,
         lag(${value}) OVER series AS before, lag(m.time) OVER series AS time_before
  FROM metrics.${identifier(question.measurement)} AS m
  WHERE ${[...where, `${value} IS NOT NULL`].join("\n    AND ")}
  WINDOW series AS (PARTITION BY m.tags ORDER BY m.time)
), grown AS (
  SELECT ${bucket}m.host, m.tags,
         sum(CASE WHEN m.value < m.before THEN m.value ELSE m.value - m.before END) AS increase,
         sum(m.value - m.before) AS delta,
         extract(epoch FROM sum(m.time - m.time_before))::float8 AS seconds
  FROM points AS m
  WHERE ${from}
  GROUP BY ${question.step ? "1, 2, 3" : "1, 2"}
)
SELECT ${[...outer, `sum(${GROWTH[question.fn]}) AS ${identifier(field)}`].join(",\n       ")}
FROM grown AS m${["", ...grouping(keys)].join("\n")};`;
}

/** Of points at one moment, first and last take that of the series made first. */
function seriesOf({ fn, measurement }) {
  if (fn !== "first" && fn !== "last") {
    return [];
  }
  const id = `(SELECT id FROM catalog.measurement WHERE name = ${text(measurement)})`;
  return [`JOIN catalog.series AS s ON s.tags = m.tags AND s.measurement_id = ${id}`];
}

function keysOf(question) {
  const tags = split(question.by).map((tag) => `${tagValue(tag)} AS ${identifier(tag)}`);
  return question.step ? [bucketOf(question), ...tags] : tags;
}

function bucketOf(question) {
  return `time_bucket(${text(interval(question.step))}, m.time) AS bucket`;
}

function grouping(keys) {
  const places = keys.map((_, n) => n + 1).join(", ");
  return keys.length > 0 ? [`GROUP BY ${places}`, `ORDER BY ${places}`] : [];
}

function rangeOf(answer) {
  return [`m.time >= ${text(answer.start)}`, `m.time < ${text(answer.end)}`];
}

function valueOf(fn, column) {
  const field = `m.${identifier(column)}`;
  return FUNCTIONS[fn]?.(field) ?? `${fn}(${field})`;
}

function condition(matcher) {
  const [, tag, operator, value] = matcher.match(MATCHER);
  return `${tagValue(tag)} ${OPERATORS[operator]} ${text(operator.endsWith("~") ? anchored(value) : value)}`;
}

/** A series without the tag has the empty text, as in the HTTP API. */
function tagValue(tag) {
  return tag === "host" ? "coalesce(m.host, '')" : `coalesce(m.tags ->> ${text(tag)}, '')`;
}

/** A regular expression must match the whole value; (?i) stands only at the very start. */
function anchored(pattern) {
  return pattern.startsWith("(?i)") ? `(?i)^(?:${pattern.slice(4)})$` : `^(?:${pattern})$`;
}

function interval(step) {
  return `${step.slice(0, -1)} ${UNITS[step.at(-1)]}`;
}

/** After a dot or AS any word is a name, so that only other characters need quotes. */
function identifier(name) {
  return PLAIN.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function text(value) {
  return `'${value.replaceAll("'", "''")}'`;
}
