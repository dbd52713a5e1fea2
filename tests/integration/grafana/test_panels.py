"""Every statement of the dashboards, as Grafana sends it, against ninety days of data, with the role it has."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bench.macros import RANGES, Panel
from tests.integration.grafana.boards import KINDS, LISTS, ONE_OF, QUERIES, TARGETS, VARIABLES, Grafana
from tests.integration.grafana.work import ROWS


@pytest.mark.parametrize("span", RANGES)
@pytest.mark.parametrize("name", TARGETS)
def test_it_has_rows(grafana: Grafana, name: str, span: str) -> None:
    """Over an hour, a day and a month: rows, with a number in some of them, and in order where they are a series."""
    length, interval = RANGES[span]
    columns, rows = grafana.ask(TARGETS[name], length, interval)
    assert rows
    assert any(
        value is not None for row in rows for value, column in zip(row, columns, strict=True) if column != "time"
    )
    if columns[0] == "time":
        assert [row[0] for row in rows] == sorted(row[0] for row in rows) or len(rows) == 1


@pytest.mark.parametrize("name", [name for name, query in QUERIES.items() if query["format"] == "time_series"])
def test_a_series_can_be_drawn(grafana: Grafana, name: str) -> None:
    """Its rows are what Grafana makes series of: one time in each, texts as labels, and numbers; no label is twice."""
    panel = Panel(grafana.now - timedelta(hours=6), grafana.now, "1m", VARIABLES)
    described, rows = grafana.described(panel.expand(TARGETS[name]))
    kinds = {column: KINDS[code] for column, code in described.items()}
    assert [column for column, kind in kinds.items() if kind == "time"] == ["time"]
    assert "number" in kinds.values()
    keys = [tuple(value for value, kind in zip(row, kinds.values(), strict=True) if kind != "number") for row in rows]
    assert None not in {key for row in keys for key in row}
    assert len(set(keys)) == len(keys) > 0


@pytest.mark.parametrize("name", TARGETS)
def test_it_takes_every_interval(grafana: Grafana, name: str) -> None:
    """Whatever the range and the width of the panel, the interval that Grafana takes for them is one."""
    for interval in ("10ms", "200ms", "1s", "15s", "2m", "20m", "3h", "1d", "7d", "30d", "1y"):
        grafana.ask(f"EXPLAIN {TARGETS[name]}", interval=interval)


@pytest.mark.parametrize("name", [name for name, sql in TARGETS.items() if "${" in sql])
def test_nobody_there_is_no_error(grafana: Grafana, name: str) -> None:
    """A variable without a value, as where nothing is stored yet, finds nothing."""
    grafana.ask(TARGETS[name], variables={"host": "", "measurement": []})


@pytest.mark.parametrize("span", RANGES)
def test_it_is_little_work(grafana: Grafana, span: str) -> None:
    """However fast the machine is, what a panel reads is no more than any of them reads within a second."""
    for name, sql in TARGETS.items():
        done, most = grafana.work(sql, span)
        assert done.pages <= most, name
        assert done.rows <= ROWS, name


def test_variables_have_values(grafana: Grafana) -> None:
    """The hosts and the measurements that there are."""
    for name, sql in LISTS.items():
        _, rows = grafana.ask(sql)
        assert ONE_OF[name] in {value for (value,) in rows}


def test_quantiles_are_those_of_what_was_observed(grafana: Grafana) -> None:
    """Of 2, 30, 30, 400 ms and 20 s in each reading: within the median's bucket, and the last bound for p99."""
    _, rows = grafana.ask(TARGETS["tidemark: Committed within A"], timedelta(minutes=50), "1m")
    assert all(0.025 <= median <= 0.05 and highest == 10 for _, median, highest in rows)
    assert len(rows) > 40


def test_rates_are_increases_a_second(grafana: Grafana) -> None:
    """Ten points a reading, a reading a minute."""
    _, rows = grafana.ask(TARGETS["tidemark: Points by fate A"], timedelta(minutes=50), "1m")
    assert {round(value, 6) for _, _, *fates in rows for value in fates} == {round(10 / 60, 6)}


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=30), timedelta(days=60)])
def test_a_forecast_goes_on_to_the_end_of_the_range(grafana: Grafana, ahead: timedelta) -> None:
    """From 40 to 80 percent in ninety days: as straight as it was, and no further than to the brim."""
    sql = TARGETS["host: Full, and where it goes B"]
    _, rows = grafana.ask(sql, timedelta(days=30), "30m", ahead)
    assert all(metric.endswith(" forecast") for _, metric, _ in rows)
    last, _, value = rows[-1]
    assert value == pytest.approx(80 + 40 * (last - grafana.now) / timedelta(days=90), abs=0.1)
    if ahead < timedelta(days=45):
        assert last == grafana.now + ahead
    else:
        assert value > 95
