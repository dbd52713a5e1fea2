"""The schema and the database itself: migrations, and the embedded TimescaleDB.

In reading order: `migrate.py` applies `migrations/NNNN_verb_noun.sql`, forward only, each once.
"""
