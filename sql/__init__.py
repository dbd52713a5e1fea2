"""The schema and the database itself: migrations, the embedded TimescaleDB, and the launcher of everything.

In reading order: `migrate.py` applies `migrations/NNNN_verb_noun.sql`, forward only, each once. `engine.py` finds a
PostgreSQL with TimescaleDB, or has `debian.py` fetch one; `embedded.py` makes a private cluster on it, `postmaster.py`
runs it, `addresses.py` knows how it is reached. `stack.py` runs the `Procfile` and `ready.py` says when all is up.
"""
