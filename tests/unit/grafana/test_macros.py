"""What the tests and the benchmark send in Grafana's place: its macros, intervals and variables, as it expands them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench.macros import Panel

END = datetime(2026, 11, 26, 12, tzinfo=UTC)
FROM, TO = "'2026-11-26T11:00:00.000000Z'", "'2026-11-26T12:00:00.000000Z'"
VARIABLES = {"host": 'o\'brien "$x"', "measurement": ["cpu", "it's"]}
PANEL = Panel(END - timedelta(hours=1), END, "1m", VARIABLES)


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("$__timeFilter(time) AND true", f"time BETWEEN {FROM} AND {TO} AND true"),
        ("$__timeFrom()::timestamptz, $__timeTo()", f"{FROM}::timestamptz, {TO}"),
        ("$__unixEpochFilter(at)", "at >= 1795690800 AND at <= 1795694400"),
        ("$__timeEpoch(time)", 'extract(epoch from time) as "time"'),
        ("m.cpu_at('$__interval'), $__interval_ms", "m.cpu_at('1m'), 60000"),
        ("$__timeGroupAlias(time, $__interval)", "time_bucket('60.000s',time) AS \"time\""),
        ("ORDER BY $__timeGroup(time, '5m')", "ORDER BY time_bucket('300.000s',time)"),
        ("$__timeGroup(time, 1h), host", "time_bucket('3600.000s',time) AS \"time\", host"),
        ("host = '${host}'", "host = 'o''brien \"$x\"'"),
        ("name = ANY (ARRAY[${measurement}]::text[])", "name = ANY (ARRAY['cpu','it''s']::text[])"),
    ],
)
def test_what_is_sent(sql: str, sent: str) -> None:
    """Times as the data source writes them, groups as in TimescaleDB's mode, and values in its quotes."""
    assert PANEL.expand(sql) == sent


@pytest.mark.parametrize("sql", ["$__unixEpochNanoFrom()", "$__timeGroup(time, a while)"])
def test_what_is_not_known_is_not_sent(sql: str) -> None:
    """A macro, or an interval, that would reach the database as it is."""
    with pytest.raises(ValueError, match=r"is no interval|is not known here"):
        PANEL.expand(sql)
