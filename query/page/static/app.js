// The page's start: which view is shown follows from the address behind the #.
//
// app -> views (fleet, host, explore) -> their parts (grid, timechart, ...) -> poller, contact -> api, dom, format.
// A view is a class: its constructor fills the element that it is given and starts its requests, `dispose` ends them.

import { current } from "./addresses.js";
import { Catalog } from "./catalog.js";
import { Contact } from "./contact.js";
import { h } from "./dom.js";
import { Explore } from "./explore.js";
import { Fleet } from "./fleet.js";
import { Host } from "./host.js";

const ROUTES = [
  [/^\/$/, Fleet],
  [/^\/hosts\/(?<host>.+)$/, Host],
  [/^\/explore$/, Explore],
];

const main = document.getElementById("main");
const context = { catalog: new Catalog(), contact: new Contact() };
let view = null;
let path = null;

function show() {
  const address = current();
  if (view?.follow && address.path === path) {
    view.follow(address.parameters);
    return;
  }
  view?.dispose();
  context.contact.reset();
  main.replaceChildren();
  const isFirst = path === null;
  path = address.path;
  view = make(address);
  document.title = view ? `${view.title} · Tidemark` : "Tidemark";
  for (const link of document.querySelectorAll(".bar nav a")) {
    link.ariaCurrent = link.hash === `#${path}` ? "page" : null;
  }
  if (!isFirst) {
    main.querySelector("h1")?.focus();
  }
}

function make(address) {
  for (const [pattern, View] of ROUTES) {
    const found = address.path.match(pattern);
    if (found) {
      return new View(main, { ...found.groups, query: address.parameters }, context);
    }
  }
  main.append(h("h1", { tabindex: "-1" }, "There is nothing here"), h("p", {}, h("a", { href: "#/" }, "The fleet")));
  return null;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands behind the # names a view, not a place in it
  main.focus();
});
addEventListener("hashchange", show);
show();
