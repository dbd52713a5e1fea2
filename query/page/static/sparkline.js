// A curve beside a number, drawn as SVG. It repeats what the number and the host's page tell, so it has no text.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 20;

/**
 * A curve of [time, value] points, times in milliseconds, from `start` to `end`; values from 0 to `top`. Where
 * points are more than `gap` milliseconds apart, the line breaks.
 */
export function sparkline(points, { start, end, top, gap }) {
  const svg = make("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "spark",
    "aria-hidden": "true",
    preserveAspectRatio: "none",
  });
  svg.append(make("path", { d: line(points, start, end, top, gap) }));
  return svg;
}

function line(points, start, end, top, gap) {
  let before = -Infinity;
  const parts = points.map(([time, value]) => {
    const x = ((time - start) / (end - start)) * WIDTH;
    const y = 1 + (HEIGHT - 2) * (1 - Math.min(Math.max(value / top, 0), 1));
    const step = time - before > gap ? "M" : "L";
    before = time;
    return `${step}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return parts.join("");
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return element;
}
