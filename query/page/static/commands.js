// The same question for other tools: as a curl command, and as SQL.

import { tagsOf, toRequest } from "./question.js";

const OPERATORS = { "=": "=", "!=": "<>", "=~": "~", "!~": "!~" };
const MATCHER = /^([^=!]+)(=~|!~|!=|=)(.*)$/s;
const PLAIN = /^[a-z_][a-z0-9_]*$/;
const UNITS = { s: "seconds", m: "minutes", h: "hours", d: "days" };

const FUNCTIONS = {
  avg: (field) => `avg(${field})`,
  min: (field) => `min(${field})`,
  max: (field) => `max(${field})`,
  sum: (field) => `sum(${field})`,
  count: (field) => `count(${field})`,
  first: (field) => `first(${field}, m.time) FILTER (WHERE ${field} IS NOT NULL)`,
  last: (field) => `last(${field}, m.time) FILTER (WHERE ${field} IS NOT NULL)`,
};

/** The request of a question as a command for a shell. */
export function curlOf(question, origin) {
  const lines = [`curl -G ${shell(`${origin}api/v1/aggregate`)}`];
  for (const [name, value] of Object.entries(toRequest(question))) {
    for (const one of [value].flat().filter(Boolean)) {
      lines.push(`--data-urlencode ${shell(`${name}=${one}`)}`);
    }
  }
  return lines.join(" \\\n  ");
}

/**
 * A statement over the view of the measurement that gives the answer's numbers. `columns` are the columns of the
 * question's fields in that view; the answer tells which moments its relative times meant.
 */
export function sqlOf(question, columns, answer) {
  const keys = tagsOf(question).map((tag) => `${tagValue(tag)} AS ${identifier(tag)}`);
  if (question.step) {
    keys.unshift(`time_bucket(${text(interval(question.step))}, m.time) AS bucket`);
  }
  const values = columns.map(
    (column, n) => `${FUNCTIONS[question.fn](`m.${identifier(column)}`)} AS ${identifier(question.fields[n])}`,
  );
  const present = columns.map((column) => `m.${identifier(column)} IS NOT NULL`).join(" OR ");
  const where = [
    `m.time >= ${text(answer.start)} AND m.time < ${text(answer.end)}`,
    ...question.match.map(condition),
    `(${present})`,
  ];
  const places = keys.map((_, n) => n + 1).join(", ");
  return [
    `SELECT ${[...keys, ...values].join(",\n       ")}`,
    `FROM metrics.${identifier(question.measurement)} AS m`,
    `WHERE ${where.join("\n  AND ")}`,
    ...(keys.length > 0 ? [`GROUP BY ${places}`, `ORDER BY ${places}`] : []),
  ]
    .join("\n")
    .concat(";");
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

function shell(value) {
  return `'${value.replaceAll("'", String.raw`'\''`)}'`;
}
