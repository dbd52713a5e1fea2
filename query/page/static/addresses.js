// The addresses of the views, which stand behind the #.

/** The view of a host. */
export function hostAddress(host) {
  return `#/hosts/${encodeURIComponent(host)}`;
}

/** The explorer with a question filled in: lists are repeated parameters. */
export function exploreAddress(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) {
      query.append(name, one);
    }
  }
  return `#/explore?${query}`;
}

/** The path and the parameters of the address that is shown. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path || "/", parameters: new URLSearchParams(query) };
}
