"""The files that Grafana is given: fresh, small, whole, and such that they can be read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from ruamel.yaml import YAML

from grafana.__main__ import FOLDER, dashboards, text

LARGEST_BYTES = 400_000
NAMES = sorted(dashboards())
PROVISIONING = FOLDER.parent / "provisioning"


def read(name: str) -> dict[str, Any]:
    """A dashboard's file."""
    loaded: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_fresh(name: str) -> None:
    """It is what the code says: otherwise run `python -m grafana`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text(dashboards()[name])
    assert (FOLDER / name).stat().st_size < LARGEST_BYTES


def test_no_other_files_are_there() -> None:
    """A dashboard that was removed is gone."""
    assert sorted(path.name for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_models_read_it_back(name: str) -> None:
    """Grafana's model of a dashboard loses nothing of it, but for the query of annotations, which it does not know."""
    register_default_plugins()
    kept = read(name)
    for annotation in kept["annotations"]["list"]:
        del annotation["target"]
    back = json.loads(json.dumps(Dashboard.from_json(kept), cls=JSONEncoder))
    assert lost(kept, back) == []


def lost(kept: Any, back: Any, place: str = "") -> list[str]:
    """Where `back` lacks something that `kept` has, or has another; the models fill in defaults."""
    if isinstance(kept, dict) and isinstance(back, dict):
        return [one for key in kept for one in lost(kept[key], back.get(key), f"{place}/{key}")]
    if isinstance(kept, list) and isinstance(back, list) and len(kept) == len(back):
        return [one for n, pair in enumerate(zip(kept, back, strict=True)) for one in lost(*pair, f"{place}/{n}")]
    return [] if kept == back else [place]


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_is_whole(name: str) -> None:
    """It has a number of its own, a title, a unit, a place that no other takes, and it asks our data source."""
    numbers: set[int] = set()
    taken: set[tuple[int, int]] = set()
    for panel in read(name)["panels"]:
        numbers.add(panel["id"])
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]
            assert all(target["datasource"]["uid"] == "tidemark" for target in panel["targets"])
            assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["interval"] == "$interval"
    assert len(numbers) == len(read(name)["panels"])


@pytest.mark.parametrize("name", NAMES)
def test_series_are_read_by_interval(name: str) -> None:
    """What is read over time comes from the function that chooses a rollup, by the interval of the panel."""
    for panel in read(name)["panels"]:
        for target in panel.get("targets", ()):
            if target["format"] == "time_series" and "$__timeFilter" in target["rawSql"]:
                assert "_at('$__interval'" in target["rawSql"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_quoted_by_the_data_source(name: str) -> None:
    """A text between quotes, several in a list; Grafana's format for SQL puts a backslash before double quotes."""
    content = read(name)
    several = {one["name"] for one in content["templating"]["list"] if one.get("multi")}
    targets = [target for panel in content["panels"] for target in panel.get("targets", ())]
    for sql in [one["rawSql"] for one in (*targets, *(mark["target"] for mark in content["annotations"]["list"]))]:
        for variable in re.findall(r"\$\{([^}]*)\}", sql):
            assert (f"ARRAY[${{{variable}}}]" if variable in several else f"'${{{variable}}}'") in sql


@pytest.mark.parametrize("name", NAMES)
def test_curves_say_which_is_which(name: str) -> None:
    """Below a chart is its legend."""
    curves = [panel for panel in read(name)["panels"] if panel["type"] == "timeseries"]
    assert all(panel["options"]["legend"]["showLegend"] for panel in curves)


def test_links_keep_any_name() -> None:
    """What a row or a bar has goes encoded into an address: Grafana would leave `&`, `#` and `+` as they are."""
    assert set(re.findall(r"var-host=\$\{([^}]*)\}", (FOLDER / "hosts.json").read_text(encoding="utf-8"))) == {
        "__value.raw:percentencode",
        "__data.fields.host:percentencode",
    }


def test_links_lead_to_dashboards() -> None:
    """Each address within Grafana that a panel or an alert names is a dashboard's."""
    known = {read(name)["uid"] for name in NAMES}
    texts = [path.read_text(encoding="utf-8") for path in [*FOLDER.iterdir(), PROVISIONING / "alerting" / "rules.yaml"]]
    linked = {uid for one in texts for uid in re.findall(r"/d/([\w-]+)|dashboardUid: ([\w-]+)", one)}
    assert {uid for pair in linked for uid in pair if uid} <= known


def provisioned(path: str) -> Any:
    """A file of the provisioning."""
    return YAML(typ="safe", pure=True).load(PROVISIONING / Path(path))


def test_the_data_source_is_ours() -> None:
    """TimescaleDB's mode is on, the role is the one that only reads, and its password comes from the environment."""
    (source,) = provisioned("datasources/tidemark.yaml")["datasources"]
    assert (source["uid"], source["type"]) == ("tidemark", "grafana-postgresql-datasource")
    assert source["user"] == "grafana_reader"
    assert source["jsonData"]["timescaledb"] is True
    assert source["secureJsonData"]["password"] == "$TIDEMARK_GRAFANA_PASSWORD"


def test_alert_rules_are_whole() -> None:
    """Each has an identifier of its own, a condition that is one of its queries, and a table that shows the same."""
    panels = {board["uid"]: board["panels"] for board in map(read, NAMES)}
    (group,) = provisioned("alerting/rules.yaml")["groups"]
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"]) == 3
    for rule in group["rules"]:
        assert rule["condition"] in {query["refId"] for query in rule["data"]}
        assert {query["refId"]: query["model"]["refId"] for query in rule["data"]} == {"A": "A", "C": "C"}
        assert all(query["datasourceUid"] == query["model"]["datasource"]["uid"] for query in rule["data"])
        assert rule["panelId"] in {panel["id"] for panel in panels[rule["dashboardUid"]] if panel["type"] == "table"}


KEYS_OF_A_RULE = {
    *(
        "uid",
        "title",
        "condition",
        "data",
        "dashboardUid",
        "panelId",
        "noDataState",
        "execErrState",
        "for",
        "annotations",
    ),
    *("labels", "isPaused", "keepFiringFor", "notification_settings", "record"),
}
KEYS_OF_A_SOURCE = {
    *("name", "type", "uid", "access", "orgId", "url", "user", "database", "basicAuth", "isDefault", "jsonData"),
    *("secureJsonData", "version", "editable", "readOnly"),
}
KEYS_OF_A_PROVIDER = {
    *("name", "orgId", "folder", "folderUid", "type", "disableDeletion", "updateIntervalSeconds", "allowUiUpdates"),
    "options",
}


@pytest.mark.parametrize(
    ("path", "list_of", "known"),
    [
        ("alerting/rules.yaml", "groups", {"orgId", "name", "folder", "interval", "rules"}),
        ("datasources/tidemark.yaml", "datasources", KEYS_OF_A_SOURCE),
        ("dashboards/tidemark.yaml", "providers", KEYS_OF_A_PROVIDER),
    ],
)
def test_provisioning_has_only_keys_that_grafana_documents(path: str, list_of: str, known: set[str]) -> None:
    """A key that it does not know it would pass over without a word."""
    content = provisioned(path)
    assert set(content) == {"apiVersion", list_of}
    for one in content[list_of]:
        assert set(one) <= known
        for rule in one.get("rules", ()):
            assert set(rule) <= KEYS_OF_A_RULE
            assert all(
                set(query) <= {"refId", "queryType", "relativeTimeRange", "datasourceUid", "model"}
                for query in rule["data"]
            )
