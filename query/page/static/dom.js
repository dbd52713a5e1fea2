// Elements from plain values. Whatever a client pushed goes in as text, never as markup.

/**
 * An element with attributes, listeners (`onclick: f`) and children. A child is a node or a text; null and false
 * are left out, and so is an attribute that is null or false.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== false && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** A `<select>` with its label; `choices` are [value, text]. */
export function choice(label, choices, value, onchange, attributes = {}) {
  const select = h("select", { ...attributes, onchange: () => onchange(select.value) });
  for (const [key, text] of choices) {
    select.append(h("option", { value: key, selected: key === value }, text));
  }
  return h("label", {}, h("span", {}, label), select);
}

/** Puts `children` in place of what `parent` has, unless they are the same; what had the focus keeps it. */
export function place(parent, children) {
  const same =
    parent.childNodes.length === children.length && children.every((child, n) => child === parent.childNodes[n]);
  if (same) {
    return;
  }
  const focused = document.activeElement;
  parent.replaceChildren(...children);
  if (focused !== document.activeElement && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

/** Sets a text only when it differs, so that nothing is announced or laid out again without need. */
export function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
