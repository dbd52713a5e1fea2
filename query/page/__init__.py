"""The page at `/`: the fleet, one host, and a small explorer, for those without Grafana.

`files` reads the page's files once, at start; `routes` serves them. The page itself is in `static`: plain
modules of JavaScript without a build step, that ask the same HTTP API as everybody else. Begin at `static/app.js`.
"""
