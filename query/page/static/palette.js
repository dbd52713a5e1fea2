// The colours of the theme in force, for what is drawn on a canvas.

import { h } from "./dom.js";

const SERIES = Array.from({ length: 10 }, (_, n) => `series-${n + 1}`);

/** `ink`, `line` and `panel`, and the colours of series in their order. */
export function palette() {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const colour = (name, property = "color") => {
    probe.style[property] = `var(--${name})`;
    return getComputedStyle(probe)[property];
  };
  const found = { ink: colour("soft"), line: colour("line"), panel: colour("panel", "backgroundColor") };
  probe.style.forcedColorAdjust = "none"; // where colours are forced, curves still need several
  found.series = SERIES.map((name) => colour(name));
  probe.remove();
  return found;
}
