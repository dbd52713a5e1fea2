"""The host agent: this host's metrics, pushed to ingest.

    inputs ──points──▶ collect ──lines──▶ backlog ──▶ deliver ──HTTP──▶ ingest
      psutil            every interval     bounded      oldest first

Collection and delivery are two tasks that meet in the backlog alone, so a slow or absent ingest never delays
a reading. `settings` says what can be changed; `instruments` counts what becomes of every point.
"""
