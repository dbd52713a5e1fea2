"""The write path. The life of a sample, and the files in the order in which it meets them:

1. `routes` takes the request and holds its share of the memory (`budget`) until the answer.
2. `body` reads it, within bounds of size and time, and decompresses it.
3. `protocols/` decodes its bytes into points, rows by shape (`points`), pure; `names` and `timestamps` say what
   may be taken; `series` finds the series that each point belongs to.
4. `writer` makes it a `job`, which waits (`waiting`) for what it needs: the learner, who has `catalog` make new
   measurements, fields and series in the database, or just a copier.
5. A copier takes all that wait for it, as one group.
6. `ladder` commits the group, whatever the database says: `copy` encodes it for COPY, `merge` makes its points
   unique, `sqlstates` classes errors. Every request gets its own outcome.
7. `answers` tells the client: committed, or what was rejected and why.

`app` puts these together, `database` makes their connections, `settings` and `instruments` list theirs.
`agent/` is a process of its own: it reads this host's metrics and pushes them here.
"""
