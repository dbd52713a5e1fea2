"""What both processes stand on: settings readers, errors, the web shell, logs.

Nothing here knows what a point or a series is, and nothing here imports `ingest`, `query` or `sql`.
"""
