// Requests to the service, its time, and what goes wrong.

/** Timeout, and too many requests: later the same request will do. */
const LATER = new Set([408, 429]);
const LONGEST_PAUSE_S = 60;
const TIMEOUT_MS = 40_000; // longer than a statement may take there, so that its own words are heard

/** A request that failed: which, and why. `status` is 0 when there was no answer; `pause` is how many milliseconds
 * the service wants to be left alone. */
export class RequestError extends Error {
  constructor(request, why, status = 0, pause = 0) {
    super(`${request}: ${why}`);
    this.name = "RequestError";
    this.request = request;
    this.why = why;
    this.status = status;
    this.pause = pause;
  }

  /** Whether the same request would fail again: neither the network nor too much work was the reason. */
  get isFaultOfRequest() {
    return this.status >= 400 && this.status < 500 && !LATER.has(this.status);
  }
}

/** Several requests that failed at the same time. */
export class Failures extends Error {
  constructor(errors) {
    super(errors.map((error) => error.message).join("; "));
    this.name = "Failures";
    this.errors = errors;
    this.pause = Math.max(...errors.map((error) => error.pause ?? 0));
  }
}

let ahead = 0;

/** The service's time, in milliseconds since 1970, to a second: ages do not depend on this machine's clock. */
export function now() {
  return Date.now() + ahead;
}

/** The address of a request; a list is a repeated parameter, and what is null or empty is left out. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") {
        query.append(name, one);
      }
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** The JSON of a GET. Throws a `RequestError`, or the signal's reason when it was aborted. */
export async function get(path, parameters, signal) {
  const request = `GET ${address(path, parameters)}`;
  let response;
  let body;
  try {
    response = await fetch(address(path, parameters), {
      headers: { Accept: "application/json" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    body = await response.json();
  } catch (error) {
    signal.throwIfAborted();
    throw new RequestError(request, explain(error, response), response?.status);
  }
  if (!response.ok) {
    const pause = 1000 * Math.min(Number(response.headers.get("Retry-After")) || 0, LONGEST_PAUSE_S);
    throw new RequestError(request, `${response.status}, ${body.message ?? response.statusText}`, response.status, pause);
  }
  const told = Date.parse(response.headers.get("Date"));
  if (!Number.isNaN(told)) {
    ahead = told - Date.now();
  }
  return body;
}

function explain(error, response) {
  if (error.name === "TimeoutError") {
    return `no answer in ${TIMEOUT_MS / 1000} s`;
  }
  if (!response) {
    return "no connection";
  }
  return `${response.status}, and the answer ${error instanceof SyntaxError ? "is no JSON" : "broke off"}`;
}

/** Runs all, and throws `Failures` in the end when some have failed: one that fails does not keep the others. */
export async function all(tasks) {
  const settled = await Promise.allSettled(tasks);
  const errors = settled.filter((one) => one.status === "rejected").map((one) => one.reason);
  if (errors.length > 0) {
    throw new Failures(errors.flatMap((error) => (error instanceof Failures ? error.errors : [error])));
  }
}
