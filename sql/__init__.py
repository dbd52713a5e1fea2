"""The schema and the database itself: migrations, and the embedded TimescaleDB.

    migrate.py         applies `migrations/NNNN_verb_noun.sql`, forward only, each once
    edition.py         what the server's TimescaleDB can do
"""
