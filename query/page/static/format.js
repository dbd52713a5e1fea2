// Numbers and times for people.

export const NONE = "–";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const significant = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, notation: "compact" });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 17, useGrouping: false });
const six = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, useGrouping: false });
const integral = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: false });
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** How a kind of number is written, beside a curve and on an axis; `base` is what its thousands are,
 * `precision` the decimals that an axis needs; `isFromZero` is false where an axis begins at what there is. */
export const UNITS = {
  number: { write: number, axis: number, isFromZero: false },
  count: { write: count, axis: count, precision: 0 },
  load: { write: (value) => hundredths.format(value), axis: number },
  percent: { write: (value) => `${tenths.format(value)} %`, axis: (value) => `${number(value)} %` },
  bytes: { write: bytes, axis: roundBytes, base: 1024 },
  bytesPerSecond: { write: (value) => `${bytes(value)}/s`, axis: (value) => `${roundBytes(value)}/s`, base: 1024 },
};

/** A number of whatever kind, to four digits. */
export function number(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) {
    return value.toExponential(2);
  }
  return size >= 1e6 ? compact.format(value) : significant.format(value);
}

/** A count, with its thousands set apart. */
export function count(value) {
  return whole.format(value);
}

/** All digits that a double has. */
export function allDigits(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-6 || size >= 1e21) ? String(value) : exact.format(value);
}

/** A number for a table: six digits, or all those before the point. */
export function sixDigits(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-6 || size >= 1e21)) {
    return value.toPrecision(6);
  }
  return size >= 1e6 ? integral.format(value) : six.format(value);
}

/** Bytes with a binary unit, to three digits. */
export function bytes(value) {
  const [scaled, unit] = scale(value);
  const text = unit === BINARY[0] || Math.abs(scaled) >= 100 ? whole.format(scaled) : tenths.format(scaled);
  return `${text} ${unit}`;
}

function roundBytes(value) {
  const [scaled, unit] = scale(value);
  return `${significant.format(scaled)} ${unit}`;
}

function scale(value) {
  const size = Math.abs(value);
  const power = size < 1 ? 0 : Math.min(BINARY.length - 1, Math.floor(Math.log2(size) / 10));
  return [value / 1024 ** power, BINARY[power]];
}

/** How long ago: the largest unit that fits, in whole numbers. */
export function age(milliseconds) {
  const passed = Math.max(0, milliseconds);
  if (passed < 2 * MINUTE) {
    return `${Math.floor(passed / SECOND)} s`;
  }
  if (passed < 2 * HOUR) {
    return `${Math.floor(passed / MINUTE)} min`;
  }
  return passed < 2 * DAY ? `${Math.floor(passed / HOUR)} h` : `${Math.floor(passed / DAY)} d`;
}

/** The time of day, in this machine's zone. */
export function timeOfDay(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

function two(part) {
  return String(part).padStart(2, "0");
}

/** Date and time as ISO 8601 has them, in this machine's zone, to the second. */
export function dateAndTime(milliseconds) {
  const date = new Date(milliseconds);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${timeOfDay(milliseconds)}`;
}
