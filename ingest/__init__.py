"""The write path. The life of a sample, and the files in the order in which it meets them:

1. `routes` takes the request and holds its share of the memory (`budget`) until the answer.
2. `service.body` reads it, within bounds of size and time, and decompresses it.
3. `decoders` picks the one of `protocols/` that turns its bytes into points, rows by shape (`points`), pure; `names`
   and `timestamps` say what may be taken; `series` finds the series that each point belongs to.
4. `keeper` has the points written; when the database does not take them, it has the request kept on disk (`spool/`).
5. `writer` makes them a `job`, which waits (`waiting`) for what it needs: the learner, who has `catalog` make new
   measurements, fields and series in the database, or just a copier.
6. A copier takes all that wait for it, as one group.
7. `ladder` commits the group, whatever the database says: `copy` encodes it for COPY, `merge` makes its points
   unique, `portions` divides what is too much for one merge, `sqlstates` classes errors, `late` tells readers what
   changes of times gone by. Every request gets its own outcome.
8. `answers` tells the client: committed, or spooled, or what was rejected and why.
9. `drainer` has what was spooled written when the database is back (`replay`), by steps 3 and 5 to 7, in the order that
   matters (`deferred`).

`app` puts these together, `openapi` describes them, `database` makes their connections, `settings` and `instruments`
list theirs, `holds` watches the event loop that they share; `commands` lets people look after the spool.
`agent/` is a process of its own: it reads this host's metrics and pushes them here.
"""
