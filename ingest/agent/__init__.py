"""The host agent: this host's metrics, pushed to ingest."""
