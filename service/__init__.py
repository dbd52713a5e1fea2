"""What both processes stand on: settings readers, errors, the web shell, logs.

Nothing here knows what a point or a series is, and nothing here imports `ingest`, `query` or `sql`.
"""

VERSION = "0.1.0"
"""The version of all of Tidemark, as in pyproject.toml."""
