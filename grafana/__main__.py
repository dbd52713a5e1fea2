"""`python -m grafana`: write the dashboards' files anew."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.host import host
from grafana.hosts import hosts
from grafana.tidemark import tidemark

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, Dashboard]:
    """The dashboards by the names of their files."""
    return {"hosts.json": hosts(), "host.json": host(), "tidemark.json": tidemark()}


def text(dashboard: Dashboard) -> str:
    """A dashboard as it is kept."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file."""
    for name, dashboard in dashboards().items():
        (FOLDER / name).write_text(text(dashboard), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
