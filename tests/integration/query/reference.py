"""An independent computation of aggregates, in plain Python, over points in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: TimescaleDB counts windows without months from there."""

QUARTER = timedelta(minutes=15)
"""The offsets of time zones are multiples of it in the years that are tested."""

HOST_TAGS = ("host", "hostname", "host.name", "instance")

LOOKBACK = timedelta(seconds=300)
"""The default of QUERY_LOOKBACK_SECONDS."""

Numbers = tuple[float | None, ...]

Row = tuple[tuple[str, ...], datetime | None, Numbers]
"""The `by` tags, the window's start, and the numbers by metric and function."""


@dataclass(frozen=True)
class Point:
    """One point; the series are created in the order in which their first points stand in a list."""

    tags: tuple[tuple[str, str], ...]
    time: datetime
    fields: dict[str, float]

    def tag(self, name: str) -> str:
        """A tag's value, empty when there is none; `host` is the first of the tags that may name it."""
        tags = dict(self.tags)
        if name == "host":
            return next((tags[one] for one in HOST_TAGS if one in tags), "")
        return tags.get(name, "")


@dataclass(frozen=True)
class Sample:
    """A point's value of one field, with that of the point before it in its series."""

    time: datetime
    series: int
    """The series' rank in order of creation."""
    value: float
    before: Sample | None


@dataclass(frozen=True)
class Ask:
    """An aggregate over the fields of one measurement."""

    fields: tuple[str, ...]
    fns: tuple[str, ...]
    start: datetime
    end: datetime
    by: tuple[str, ...] = ()
    step: str | None = None
    match: tuple[tuple[str, str, str], ...] = ()
    tz: str | None = None
    fill: str | float | None = None
    order: str | None = None
    order_by: tuple[str, str] | None = None
    """A function and a field; the first of both unless given."""
    limit: int | None = None
    resolution: str | None = None

    def parameters(self, measurement: str) -> dict[str, Any]:
        """The same as parameters of a request."""
        given = {
            "metric": [f"{measurement}.{field}" for field in self.fields],
            "fn": ",".join(self.fns),
            "by": ",".join(self.by),
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "match": ["".join(matcher) for matcher in self.match],
        }
        optional = {name: getattr(self, name) for name in ("step", "tz", "fill", "order", "limit", "resolution")}
        if self.order_by is not None:
            optional["order_by"] = f"{self.order_by[0]}({measurement}.{self.order_by[1]})"
        return given | {name: value for name, value in optional.items() if value is not None}


def expected(points: Sequence[Point], ask: Ask) -> list[Row]:
    """What the answer must hold, in its order."""
    chosen = [point for point in points if all(holds(point, *matcher) for matcher in ask.match)]
    ranks = {tags: rank for rank, tags in enumerate(dict.fromkeys(point.tags for point in points))}
    samples = {field: samples_of(chosen, field, ranks, ask.start - LOOKBACK) for field in ask.fields}
    groups: dict[tuple[tuple[str, ...], datetime | None], list[Point]] = {}
    for point in chosen:
        if ask.start <= point.time < ask.end and any(field in point.fields for field in ask.fields):
            key = (tuple(point.tag(name) for name in ask.by), window(point.time, ask))
            groups.setdefault(key, []).append(point)
    rows: list[Row] = []
    for (tags, start), members in groups.items():
        numbers: list[float | None] = []
        for field in ask.fields:
            found = [samples[field][one.tags, one.time] for one in members if field in one.fields]
            numbers += [computed(fn, found) for fn in ask.fns]
        rows.append((tags, start, tuple(numbers)))
    rows.sort(key=lambda row: (row[0], row[1] or ORIGIN))
    return ordered(points, ask, filled(rows, ask))


def samples_of(
    points: Iterable[Point], field: str, ranks: dict[tuple[tuple[str, str], ...], int], since: datetime
) -> dict[tuple[Any, datetime], Sample]:
    """The samples of a field by tags and time; what is older than `since` is before nothing."""
    samples = {}
    latest: dict[Any, Sample] = {}
    for point in sorted(points, key=lambda point: point.time):
        if field in point.fields and point.time >= since:
            rank = ranks[point.tags]
            sample = Sample(point.time, rank, point.fields[field], latest.get(rank))
            latest[rank] = samples[point.tags, point.time] = sample
    return samples


def ordered(points: Sequence[Point], ask: Ask, rows: list[Row]) -> list[Row]:
    """The rows with the series in the order that is asked for, and no more of them than are."""
    if not ask.by or (ask.order is None and ask.limit is None):
        return rows
    fn, field = ask.order_by or (ask.fns[0], ask.fields[0])
    # With all fields: a series has a value of a count, 0, also where only others of its fields have points.
    one = replace(ask, fns=(fn,), step=None, fill=None, order=None, order_by=None, limit=None)
    values = {tags: numbers[ask.fields.index(field)] for tags, _, numbers in expected(points, one)}
    sign = 1 if ask.order == "asc" else -1
    series = sorted(dict.fromkeys(row[0] for row in rows))
    series.sort(key=lambda tags: math.inf if (value := values.get(tags)) is None else sign * value)
    return [row for tags in series[: ask.limit] for row in rows if row[0] == tags]


def filled(rows: list[Row], ask: Ask) -> list[Row]:
    """The rows with those of windows that have none."""
    if ask.fill is None or ask.fill == "none":
        return rows
    completed: list[Row] = []
    starts = windows(ask)
    for tags in dict.fromkeys(row[0] for row in rows):
        found = {row[1]: row[2] for row in rows if row[0] == tags}
        columns = []
        for column in range(len(ask.fields) * len(ask.fns)):
            known = {
                start: number
                for start, numbers in found.items()
                if start is not None and (number := numbers[column]) is not None
            }
            columns.append([fill_in(start, known, ask.fill) for start in starts])
        completed += [(tags, start, numbers) for start, numbers in zip(starts, zip(*columns, strict=True), strict=True)]
    return completed


def fill_in(start: datetime, known: dict[datetime, float], fill: str | float) -> float | None:
    """The number of a window, or what stands for it."""
    if start in known or fill == "null":
        return known.get(start)
    if isinstance(fill, float):
        return fill
    left = max((one for one in known if one < start), default=None)
    right = min((one for one in known if one > start), default=None)
    if fill == "previous":
        return None if left is None else known[left]
    if left is None or right is None:
        return None
    slope = (known[right] - known[left]) / (right - left).total_seconds()
    return known[left] + slope * (start - left).total_seconds()


def windows(ask: Ask) -> list[datetime]:
    """Where all windows of the range begin."""
    pace = length(ask.step) or timedelta(hours=6)
    moments = [ask.start]
    while moments[-1] < ask.end:
        moments.append(moments[-1] + min(pace, timedelta(hours=6)))
    inside = [*(moment for moment in moments if moment < ask.end), ask.end - timedelta(microseconds=1)]
    return list(dict.fromkeys(start for moment in inside if (start := window(moment, ask)) is not None))


def length(step: str | None) -> timedelta | None:
    """The length of a step; None for months and years."""
    match = re.fullmatch(r"(\d+)([smhdw])", step or "")
    if match is None:
        return None
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[match[2]]
    return timedelta(seconds=int(match[1]) * seconds)


def window(time: datetime, ask: Ask) -> datetime | None:
    """The start of the window that holds `time`."""
    if ask.step is None:
        return None
    fixed = length(ask.step)
    zone = ZoneInfo(ask.tz or "UTC")
    if fixed is None:
        number, unit = re.fullmatch(r"(\d+)(mo|y)", ask.step).groups()  # type: ignore[union-attr]
        months = int(number) * (12 if unit == "y" else 1)
        local = time.astimezone(zone)
        month = (local.year * 12 + local.month - 1 - 2000 * 12) // months * months + 2000 * 12
        return first_moment(date(month // 12, month % 12 + 1, 1), zone)
    if ask.step[-1] in "dw":
        days = fixed.days
        since = time.astimezone(zone).date() - ORIGIN.date()
        return first_moment(ORIGIN.date() + since // timedelta(days=days) * timedelta(days=days), zone)
    return ORIGIN + (time - ORIGIN) // fixed * fixed


def first_moment(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins in a zone: found by looking at the clock every quarter of an hour."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(zone).date() < day:
        moment += QUARTER
    return moment


def holds(point: Point, tag: str, operator: str, operand: str) -> bool:
    """Whether a point's tag is as Prometheus' matchers want it."""
    value = point.tag(tag)
    if operator in ("=", "!="):
        return (value == operand) is (operator == "=")
    return (re.fullmatch(operand, value) is not None) is (operator == "=~")


def computed(fn: str, samples: list[Sample]) -> float | None:
    """A function of samples; they may be none."""
    if not samples:
        return 0 if fn == "count" else None
    if fn.startswith("p"):
        return percentile(samples, float(fn[1:]))
    return FUNCTIONS[fn](samples)


def stddev(samples: list[Sample]) -> float | None:
    """The standard deviation of a sample."""
    if len(samples) < 2:
        return None
    mean = math.fsum(sample.value for sample in samples) / len(samples)
    return math.sqrt(math.fsum((sample.value - mean) ** 2 for sample in samples) / (len(samples) - 1))


def percentile(samples: list[Sample], percent: float) -> float:
    """The value below which `percent` of the values lie, on the line between the two nearest."""
    values = sorted(sample.value for sample in samples)
    place = percent / 100 * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def total(numbers: Iterable[float]) -> float | None:
    """The sum; None of nothing."""
    listed = list(numbers)
    return math.fsum(listed) if listed else None


def growths(samples: list[Sample]) -> list[tuple[int, float, float]]:
    """What each sample with one before it adds: the series, the growth of a counter, the seconds it took."""
    return [
        (
            one.series,
            one.value if one.value < one.before.value else one.value - one.before.value,
            (one.time - one.before.time).total_seconds(),
        )
        for one in samples
        if one.before is not None
    ]


def rate(samples: list[Sample]) -> float | None:
    """The sum over series of growth by time."""
    grown = growths(samples)
    return total(
        math.fsum(growth for series, growth, _ in grown if series == wanted)
        / math.fsum(seconds for series, _, seconds in grown if series == wanted)
        for wanted in dict.fromkeys(series for series, _, _ in grown)
    )


FUNCTIONS: dict[str, Callable[[list[Sample]], float | None]] = {
    "avg": lambda samples: math.fsum(sample.value for sample in samples) / len(samples),
    "min": lambda samples: min(sample.value for sample in samples),
    "max": lambda samples: max(sample.value for sample in samples),
    "sum": lambda samples: math.fsum(sample.value for sample in samples),
    "count": len,
    "first": lambda samples: min(samples, key=lambda sample: (sample.time, sample.series)).value,
    "last": lambda samples: max(samples, key=lambda sample: (sample.time, -sample.series)).value,
    "stddev": stddev,
    "median": lambda samples: percentile(samples, 50),
    "rate": rate,
    "increase": lambda samples: total(growth for _, growth, _ in growths(samples)),
    "delta": lambda samples: total(one.value - one.before.value for one in samples if one.before is not None),
}

PERCENTILES = ("p0", "p5", "p95", "p99.9", "p100")


def rows_of(answer: Any) -> list[Row]:
    """The rows that an answer holds, whichever of its shapes it has."""
    rows: list[Row] = []
    for series in answer["series"]:
        tags = tuple(series["tags"].values())
        if "points" in series:
            rows += [(tags, datetime.fromisoformat(point[0]), tuple(point[1:])) for point in series["points"]]
        elif "value" in series:
            rows.append((tags, None, (series["value"],)))
        else:
            values = series["values"]
            rows.append((tags, None, tuple(values[metric][fn] for metric in answer["metric"] for fn in answer["fn"])))
    return rows


def assert_same(answer: Any, wanted: list[Row]) -> None:
    """The answer has the same rows in the same order, and the same numbers but for the last digits of a sum."""
    rows = rows_of(answer)
    assert [row[:2] for row in rows] == [row[:2] for row in wanted], answer
    for row, other in zip(rows, wanted, strict=True):
        for number, right in zip(row[2], other[2], strict=True):
            if number is None or right is None:
                assert number is right, (row, other)
            else:
                assert math.isclose(number, right, rel_tol=1e-9, abs_tol=1e-6), (row, other)
