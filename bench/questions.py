"""The questions of the query benchmark: TSBS's fifteen of its devops use case, and Tidemark's own.

What they ask is that of github.com/timescale/tsbs (`cmd/tsbs_generate_queries`, use case devops); the words are ours.
Each is put to four: to Tidemark's API, to PostgreSQL as the best SQL that we know for Tidemark's tables, to
VictoriaMetrics and to InfluxDB. Their answers have one form, *cells*, so that they can be compared.

    single-groupby-F-H-T   the maximum of F fields of H hosts together, by the minute, for T hours
    cpu-max-all-H          the maximum of all fields of H hosts together, by the hour, for 8 hours
    double-groupby-F       the average of F fields of each host, by the hour, for 12 hours
    groupby-orderby-limit  the maximum of a field of all hosts together, of the last five minutes before a moment
    high-cpu-H             every reading of H hosts with usage_user above 90, for 12 hours, in no order
    lastpoint              the last reading of each host
    average-per-host       the average of a field of each host, over an hour
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from bench.generate import CPU_FIELDS, READING_SECONDS

MINUTE, HOUR = 60, 3600
HIGH = 90
JUST_BEFORE = 0.001
"""VictoriaMetrics counts milliseconds."""

Params = list[tuple[str, str]]


@dataclass(frozen=True)
class Window:
    """From `start` up to but without `end`, Unix seconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Prom:
    """A range query in MetricsQL."""

    query: str
    start: float
    end: float
    step: int
    shift: int = 0
    """From a window's first moment to that at which it is evaluated, nearly."""


@dataclass(frozen=True)
class Question:
    """One question, in every language."""

    path: str
    """The endpoint of Tidemark's API."""
    params: Params
    statement: sql.Composed
    """Its columns: `host` and `t` (Unix seconds) where the answer has them, then one for each field."""
    prom: Prom
    influx: str
    fields: Sequence[str]
    has_moments: bool
    """Whether the answer tells times that all have in common."""
    whole: Window
    """The moments whose windows lie in the question's whole: VictoriaMetrics knows no others."""


@dataclass(frozen=True)
class Kind:
    """A kind of question."""

    name: str
    make: Callable[[random.Random, Data], Question]
    is_heavy: bool
    """Whether the whole fleet is looked at."""


@dataclass(frozen=True)
class Data:
    """What the questions are about."""

    start: int
    end: int
    hosts: int

    def window(self, chance: random.Random, seconds: int) -> Window:
        """A window of so many seconds, or of all that there is, whose ends are whole minutes off the hour."""
        seconds = min(seconds, self.end - self.start)
        start = self.start + chance.randrange(0, self.end - self.start - seconds + 1, MINUTE)
        return Window(start, start + seconds)

    def chosen(self, chance: random.Random, number: int) -> list[str]:
        """So many hosts."""
        return [f"host_{one}" for one in chance.sample(range(self.hosts), number)]


def grouped(
    fn: str,
    fields: Sequence[str],
    window: Window,
    step: int | None,
    *,
    hosts: Sequence[str] = (),
    by_host: bool = False,
) -> Question:
    """A function of fields, of some hosts or of all, by the window or over all of it."""
    params = [*(("metric", f"cpu.{name}") for name in fields), ("fn", fn), *_times(window)]
    params += [("step", f"{step}s")] if step else []
    params += [("by", "host")] if by_host else []
    params += [("match", f"host=~{'|'.join(hosts)}" if len(hosts) > 1 else f"host={hosts[0]}")] if hosts else []
    return Question(
        "/api/v1/aggregate",
        params,
        _grouped_sql(fn, fields, window, step, hosts, by_host=by_host),
        _grouped_prom(fn, fields, window, step, hosts, by_host=by_host),
        _grouped_influx(fn, fields, window, step, hosts, by_host=by_host),
        fields,
        has_moments=step is not None,
        whole=Window(-(-window.start // step) * step, window.end // step * step) if step else Window(0, 1),
    )


def high(window: Window, hosts: Sequence[str]) -> Question:
    """The readings above a value; in all of their fields, in whatever order."""
    where = _chosen(window, hosts)
    statement = sql.SQL(
        "SELECT s.host, extract(epoch FROM p.time)::bigint AS t, {fields} FROM points.cpu p JOIN catalog.series s "
        "ON s.id = p.series_id WHERE p.usage_user > {high} AND {where}"
    ).format(fields=_columns(CPU_FIELDS), high=sql.Literal(HIGH), where=where)
    hosts_prom = f',hostname=~"{"|".join(hosts)}"' if hosts else ""
    names = "|".join(f"cpu_{name}" for name in CPU_FIELDS)
    prom = f'{{__name__=~"{names}"{hosts_prom}}} and on (hostname) (cpu_usage_user{{{hosts_prom[1:]}}} > {HIGH})'
    hosts_influx = f" AND hostname =~ /^({'|'.join(hosts)})$/" if hosts else ""
    columns = ", ".join(f'"{name}"' for name in CPU_FIELDS)
    params = [("where", f"cpu.usage_user>{HIGH}"), ("order", "any"), *_times(window)]
    params += [("match", f"host={hosts[0]}")] if hosts else []
    return Question(
        "/api/v1/points",
        params,
        statement,
        Prom(prom, window.start, window.end - READING_SECONDS, READING_SECONDS),
        f"SELECT {columns} FROM cpu WHERE usage_user > {HIGH}{hosts_influx} AND {_influx_times(window)} "
        "GROUP BY hostname",
        CPU_FIELDS,
        has_moments=True,
        whole=window,
    )


def last(data: Data) -> Question:
    """The last reading of each host."""
    statement = sql.SQL(
        "SELECT s.host, extract(epoch FROM p.time)::bigint AS t, {fields} FROM catalog.series s CROSS JOIN LATERAL "
        "(SELECT * FROM points.cpu p WHERE p.series_id = s.id ORDER BY p.time DESC LIMIT 1) p "
        "WHERE s.measurement_id = (SELECT id FROM catalog.measurement WHERE name = 'cpu')"
    ).format(fields=_columns(CPU_FIELDS))
    names = "|".join(f"cpu_{name}" for name in CPU_FIELDS)
    columns = ", ".join(f'last("{name}")' for name in CPU_FIELDS)
    length = data.end - data.start
    return Question(
        "/api/v1/last",
        [("measurement", "cpu"), ("since", str(data.start))],
        statement,
        Prom(f'last_over_time({{__name__=~"{names}"}}[{length}s]) keep_metric_names', data.end, data.end, HOUR),
        f"SELECT {columns} FROM cpu WHERE {_influx_times(Window(data.start, data.end))} GROUP BY hostname",
        CPU_FIELDS,
        has_moments=False,
        whole=Window(0, 1),
    )


def kinds() -> list[Kind]:
    """All of them, in TSBS's order, then our own."""
    found = [
        Kind(f"single-groupby-{fields}-{hosts}-{hours}", _single(fields, hosts, hours), is_heavy=False)
        for fields, hosts, hours in ((1, 1, 1), (1, 1, 12), (1, 8, 1), (5, 1, 1), (5, 1, 12), (5, 8, 1))
    ]
    found += [Kind(f"cpu-max-all-{hosts}", _max_all(hosts), is_heavy=False) for hosts in (1, 8)]
    found += [
        Kind(f"double-groupby-{name}", _double(fields), is_heavy=True)
        for name, fields in (("1", 1), ("5", 5), ("all", 10))
    ]
    found += [
        Kind("groupby-orderby-limit", _last_minutes, is_heavy=True),
        Kind("high-cpu-1", _high(1), is_heavy=False),
        Kind("high-cpu-all", _high(0), is_heavy=True),
        Kind("lastpoint", lambda _, data: last(data), is_heavy=True),
        Kind("average-per-host", _average, is_heavy=True),
    ]
    return found


def _single(fields: int, hosts: int, hours: int) -> Callable[[random.Random, Data], Question]:
    def make(chance: random.Random, data: Data) -> Question:
        window = data.window(chance, hours * HOUR)
        return grouped("max", CPU_FIELDS[:fields], window, MINUTE, hosts=data.chosen(chance, hosts))

    return make


def _max_all(hosts: int) -> Callable[[random.Random, Data], Question]:
    def make(chance: random.Random, data: Data) -> Question:
        return grouped("max", CPU_FIELDS, data.window(chance, 8 * HOUR), HOUR, hosts=data.chosen(chance, hosts))

    return make


def _double(fields: int) -> Callable[[random.Random, Data], Question]:
    def make(chance: random.Random, data: Data) -> Question:
        return grouped("avg", CPU_FIELDS[:fields], data.window(chance, 12 * HOUR), HOUR, by_host=True)

    return make


def _last_minutes(chance: random.Random, data: Data) -> Question:
    return grouped("max", CPU_FIELDS[:1], data.window(chance, 5 * MINUTE), MINUTE)


def _high(hosts: int) -> Callable[[random.Random, Data], Question]:
    def make(chance: random.Random, data: Data) -> Question:
        return high(data.window(chance, 12 * HOUR), data.chosen(chance, hosts))

    return make


def _average(chance: random.Random, data: Data) -> Question:
    return grouped("avg", CPU_FIELDS[:1], data.window(chance, HOUR), None, by_host=True)


def _times(window: Window) -> Params:
    return [("start", str(window.start)), ("end", str(window.end))]


def _columns(fields: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("p", name) for name in fields)


def _chosen(window: Window, hosts: Sequence[str]) -> sql.Composed:
    """Of points.cpu p."""
    parts = [
        sql.SQL("p.time >= to_timestamp({}) AND p.time < to_timestamp({})").format(
            sql.Literal(window.start), sql.Literal(window.end)
        )
    ]
    if hosts:
        parts.append(
            sql.SQL(
                "p.series_id = ANY (ARRAY(SELECT s.id FROM catalog.series s WHERE s.host = ANY ({}) "
                "AND s.measurement_id = (SELECT id FROM catalog.measurement WHERE name = 'cpu')))"
            ).format(sql.Literal(list(hosts)))
        )
    return sql.SQL(" AND ").join(parts)


def _grouped_sql(
    fn: str, fields: Sequence[str], window: Window, step: int | None, hosts: Sequence[str], *, by_host: bool
) -> sql.Composed:
    keys: list[sql.Composable] = [sql.SQL("p.series_id")] if by_host else []
    # What time_bucket gives; but with it TimescaleDB sorts, and groups points one by one.
    start = "date_bin({}::interval, p.time, '2000-01-03T00:00:00Z') AS w"
    keys += [sql.SQL(start).format(sql.Literal(f"{step} s"))] if step else []
    values = [
        sql.SQL("{}({}) AS {}").format(sql.SQL(fn), sql.Identifier("p", name), sql.Identifier(name)) for name in fields
    ]
    inner = sql.SQL("SELECT {} FROM points.cpu p WHERE {} {}").format(
        sql.SQL(", ").join([*keys, *values]),
        _chosen(window, hosts),
        sql.SQL("GROUP BY " + ", ".join(str(place + 1) for place in range(len(keys)))) if keys else sql.SQL(""),
    )
    shown: list[sql.Composable] = [sql.SQL("s.host")] if by_host else []
    shown += [sql.SQL("extract(epoch FROM a.w)::bigint AS t")] if step else []
    shown += [sql.Identifier("a", name) for name in fields]
    joined = sql.SQL(" JOIN catalog.series s ON s.id = a.series_id" if by_host else "")
    order = sql.SQL(" ORDER BY " + ", ".join(str(place + 1) for place in range(len(keys)))) if keys else sql.SQL("")
    return sql.SQL("WITH a AS ({}) SELECT {} FROM a{}{}").format(inner, sql.SQL(", ").join(shown), joined, order)


def _grouped_prom(
    fn: str, fields: Sequence[str], window: Window, step: int | None, hosts: Sequence[str], *, by_host: bool
) -> Prom:
    """Its windows have their last moment and not their first: just before the end of one of ours it is the same."""
    names = "|".join(f"cpu_{name}" for name in fields)
    chosen = f',hostname=~"{"|".join(hosts)}"' if hosts else ""
    by = "(__name__, hostname)" if by_host else "(__name__)"
    length = step or window.end - window.start
    query = f'{fn}({fn}_over_time({{__name__=~"{names}"{chosen}}}[{length}s]) keep_metric_names) by {by}'
    first = window.start // step * step if step else window.start
    last_end = first - (first - window.end) // length * length
    return Prom(query, first + length - JUST_BEFORE, last_end - JUST_BEFORE, length, shift=length)


def _influx_times(window: Window) -> str:
    return f"time >= {window.start}s AND time < {window.end}s"


def _grouped_influx(
    fn: str, fields: Sequence[str], window: Window, step: int | None, hosts: Sequence[str], *, by_host: bool
) -> str:
    name = "mean" if fn == "avg" else fn
    columns = ", ".join(f'{name}("{one}")' for one in fields)
    chosen = f" AND hostname =~ /^({'|'.join(hosts)})$/" if hosts else ""
    groups = [*([f"time({step}s)"] if step else []), *(["hostname"] if by_host else [])]
    group = f" GROUP BY {', '.join(groups)}" if groups else ""
    return f"SELECT {columns} FROM cpu WHERE {_influx_times(window)}{chosen}{group} fill(none)"
