// The colours of the theme in force, for what is drawn on a canvas.

import { h } from "./dom.js";

const SERIES = Array.from({ length: 10 }, (_, n) => `series-${n + 1}`);

/** `ink`, `line` and `panel`, and the colours of series in their order. */
export function palette() {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = { ink: colour("soft"), line: colour("line"), panel: colour("panel"), series: SERIES.map(colour) };
  probe.remove();
  return found;
}
