// Where an axis of time has its ticks: at round times of the day, in this machine's zone.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  [1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  [1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  [1, 2, 7, 14, 28].map((days) => days * DAY),
].flat();

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** At most `most` moments from `start` to `end`, all in milliseconds. */
export function ticks(start, end, most) {
  const step = STEPS.find((one) => (end - start) / one < most) ?? STEPS.at(-1);
  const shift = -new Date(start).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let tick = Math.ceil((start + shift) / step) * step - shift; tick <= end; tick += step) {
    found.push(tick);
  }
  return found;
}

/** A tick as the axis writes it: the day at midnight, else the time. */
export function tickLabel(tick) {
  const date = new Date(tick);
  return date.getHours() === 0 && date.getMinutes() === 0 ? day.format(date) : time.format(date);
}
