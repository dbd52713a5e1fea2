"""Benchmarks: Tidemark against the limit of its database and against its peers, in one run on one machine.

`python -m bench.ingest` (or `make bench-ingest`) measures writing. Everything is made beforehand by `generate`,
sent by `load`, a process of its own, to the `systems` under test, whose processor time and memory `observe` takes.
"""
