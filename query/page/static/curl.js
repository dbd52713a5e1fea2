// The same question for a shell.

import { toRequest } from "./question.js";

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

function shell(value) {
  return `'${value.replaceAll("'", String.raw`'\''`)}'`;
}
