"""The read path. The life of a query, in reading order:

1. `__main__` reads the settings; `app` wires the parts together; `database` connects to a server, and `watch` looks
   whether it is ready.
2. `routes` takes the parameters of a request, from its query string or its JSON body (`service.body`).
3. `parameters` makes them one checked value (with `times` for moments), as `window` has it for aggregates (with
   `steps` and `functions`), `points` for points and `lists` for lists; a fault names its parameter. `servers` settles
   who answers: the primary, or a replica that is fresh enough (`standing`) and has come to the `position` that the
   request names.
4. `shares` has whoever asks much at a time wait for itself; `limits` refuses what is past a bound, naming the setting
   and how to ask for less.
5. `store` asks the `catalog` which fields the metrics name (`facts`) and what there is of rollups; or it takes for
   granted what was looked up before (`known`), and has the statement check that (`assumptions`). `planner` decides
   what to read: `composition` cuts the range (`ranges`) into stretches of rollups and of points.
   What was computed before is put together with what must be computed now by `reuse`: `slots` says what can be kept,
   and `reach` which points before a window it depends on; `cache` and `remote` keep it (`entries`), `changes` and
   `settled` tell what of it holds.
6. `shape` is what the SQL of a plan depends on, without its values; `scans` and `statements` compose it, once for a
   shape: points are aggregated by series first, and joined to their tags after, or at once where no series need be told
   apart. `functions` says how, `conditions` has what matchers choose.
7. `database` runs it with the role tidemark_query, for as long as the client stays and no longer than its timeout.
8. `answers` gives the rows their shape, after `fill` has added the windows without points.
   Points themselves are read by `reader`, with `point_statements`, and `found` has their shape.
   Lists go a way of their own: `directory` has `list_statements` compose the SQL, and makes of its rows a table
   (`tables`) that is read in batches, a page of it (`pages`), or newest points (`newest`); `altered` tells what of the
   tables that somebody has changed they cannot hold.
9. `sending` writes a table as it is read, in the format that the client likes (`formats`, `negotiation`,
   `compression`); `holding` bounds what is made and not sent yet.
10. `storage` looks now and then at what is stored and how the database's jobs do, for /api/v1/status and `instruments`.
11. `openapi` describes all of it, of the same types.
12. Whatever goes wrong is one JSON body (`service.errors`), and a count in `instruments`.

Beside it, `page` is what a browser is shown at `/`.
"""
