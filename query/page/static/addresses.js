// The addresses of the views, which stand behind the #.

/** The fleet, as it is looked at; parameters that are null are left out, here and below. */
export function fleetAddress(parameters = {}) {
  return withQuery("#/", parameters);
}

/** The view of a host. */
export function hostAddress(host, parameters = {}) {
  return withQuery(`#/hosts/${encodeURIComponent(host)}`, parameters);
}

/** The explorer with a question filled in: lists are repeated parameters. */
export function exploreAddress(parameters) {
  return withQuery("#/explore", parameters);
}

/** Puts an address in place of the one that is shown, for the way back and for whom it is sent to. */
export function remember(address) {
  history.replaceState(null, "", address);
}

function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat().filter((each) => each !== null)) {
      query.append(name, one);
    }
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

/** The path and the parameters of the address that is shown. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
  return { path: path || "/", parameters: new URLSearchParams(query) };
}
