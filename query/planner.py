"""The plan of an aggregate: which parts of which fields to read, from which source, and when. Pure.

Where a metric may mean fields of several measurements, the one with the longest name is meant. Functions whose parts
rollups keep are read as `composition` says. The others need the points: when any of them is asked for, the points
are read once for all functions, unless some are gone: then rollups serve what they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import NamedTuple

from query.composition import Rollup, Stretch, can_help, compose, straddled
from query.conditions import hosts_named
from query.facts import FieldFact
from query.functions import MOST_HELD, PARTS, PERCENTILES, REACH, ROLLED_UP, fraction, parts_of
from query.parameters import Matcher
from query.ranges import Range, whole, without
from query.times import shortened, written
from query.window import AggregateRequest, Measure
from service.errors import BadRequest

ALWAYS_KEPT = timedelta(days=1)
"""No policy keeps points for less."""

LEAST_OF_FEW_SERIES = timedelta(days=1)
"""Of the few series that a tag's value chooses, the points of less are read in the time that it takes to look for
rollups, and to find the points at the edges of a range."""
LEAST_OF_NAMED_HOSTS = timedelta(days=3)
"""The same of several hosts that are named: of all of them together."""
LEAST_OF_MANY_SERIES = timedelta(hours=2)
"""The points at the two ragged edges of a range take as long to find as all points of less."""

MAY_BE_GONE = ", and some of them may be gone"
"""What an answer tells of points that are no longer kept where nothing stands for them."""

RAW = "raw"
"""The points themselves, as a source."""


@dataclass(frozen=True, slots=True)
class State:
    """What there is beside the points of a measurement."""

    rollups: tuple[Rollup, ...] = ()
    raw_from: datetime | None = None
    """Of the points before it some may have been dropped; None when all are kept."""

    @property
    def cut(self) -> datetime | None:
        """The time before which only rollups are read. Without any, whatever points are there are."""
        return self.raw_from if self.rollups else None


Parts = tuple[tuple[int, str], ...]
"""Of which field, by its place, which part."""


class Source(NamedTuple):
    """What one scan reads, whenever."""

    view: str | None
    """A rollup's; None means the points."""
    parts: Parts

    @property
    def fields(self) -> tuple[int, ...]:
        """The places of the fields of which there are parts."""
        return tuple(dict.fromkeys(field for field, _ in self.parts))

    @property
    def needs_before(self) -> bool:
        """Whether each point is looked at together with that before it."""
        return any(PARTS[part].needs_before for _, part in self.parts)

    @property
    def is_by_group(self) -> bool:
        """Whether the points of a group are taken together, for what no parts of its series can be merged to."""
        return any(part == PERCENTILES for _, part in self.parts)


class Piece(NamedTuple):
    """One scan: some parts of some fields, from one source, over one stretch of time."""

    start: datetime
    end: datetime
    rollup: Rollup | None
    """None means the points."""
    parts: Parts

    @property
    def source(self) -> Source:
        """What it reads."""
        return Source(None if self.rollup is None else self.rollup.view, self.parts)


@dataclass(frozen=True)
class Plan:
    """What to read for a request; the rest of what is wanted is in the request itself."""

    request: AggregateRequest
    measurement_id: int
    measurement: str
    fields: tuple[FieldFact, ...]
    """By metric."""
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...] = ()
    reaches: datetime | None = None
    """Where rows tell at their end which points before them they are computed with (`reach`): from when on any
    would matter, though they are not looked at from there on."""
    ranking: Plan | None = None
    """Of the values by which curves are ordered, where they are."""

    @cached_property
    def values(self) -> tuple[Measure, ...]:
        """The numbers of every point: by metric, then by function, in the order of the request."""
        return tuple(Measure(metric, fn) for metric in self.request.metric for fn in self.request.fn)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """The percentiles that are asked for, as shares of the points."""
        shares = (fraction(fn) for fn in self.request.fn)
        return tuple(dict.fromkeys(share for share in shares if share is not None))

    @property
    def source(self) -> tuple[str, ...]:
        """The sources' names, the coarsest first."""
        pieces = (*self.pieces, *(self.ranking.pieces if self.ranking else ()))
        rollups = sorted((piece.rollup for piece in pieces if piece.rollup), key=lambda one: one.width, reverse=True)
        names = [*(rollup.name for rollup in rollups), *(RAW for piece in pieces if piece.rollup is None)]
        return tuple(dict.fromkeys(names))


def choose(metrics: Sequence[str], facts: Sequence[FieldFact]) -> tuple[FieldFact, ...]:
    """The fields of metrics all of which exist, in their order.

    Raises `BadRequest` when no one measurement has all of them: one request is one scan of one measurement.
    """
    by_measurement: dict[str, dict[str, FieldFact]] = {}
    for fact in facts:
        by_measurement.setdefault(fact.measurement, {})[fact.metric] = fact
    complete = [name for name, known in by_measurement.items() if all(one in known for one in metrics)]
    if not complete:
        raise BadRequest(
            f"metric: {', '.join(metrics)} belong to several measurements "
            f"({', '.join(sorted(by_measurement))}); allowed: metrics of one measurement in a request",
            parameter="metric",
        )
    chosen = by_measurement[max(complete, key=len)]
    return tuple(chosen[metric] for metric in metrics)


def needs_state(request: AggregateRequest, now: datetime) -> bool:
    """Whether anything beside the points can make a difference to the answer."""
    return needs_rollups(request) or may_be_dropped(request.start, now)


def may_be_dropped(start: datetime, now: datetime) -> bool:
    """Whether some of the points from `start` on may be kept no longer."""
    return start < now - ALWAYS_KEPT


def needs_rollups(request: AggregateRequest) -> bool:
    """Whether rollups may be read where all points are kept."""
    if request.resolution != "auto":
        return request.resolution != RAW
    return any(
        _saves_by_rollups(one) and can_help(one.start, one.end, one.windows)
        for one in filter(None, (request, request.ranking))
    )


def plan(request: AggregateRequest, fields: Sequence[FieldFact], state: State) -> Plan:
    """The plan of a request for the fields that its metrics name, in that order.

    Raises `BadRequest` when the request names a source that there is not, or that does not have what it asks for.
    """
    pieces: list[Piece]
    if request.resolution == "auto":
        pieces = _composed(request, fields, state)
    elif request.resolution == RAW:
        pieces = _composed(request, fields, State())
    else:
        pieces = _from_rollup(request, fields, state)
    return Plan(
        request,
        fields[0].measurement_id,
        fields[0].measurement,
        tuple(fields),
        tuple(pieces),
        _warnings(request, pieces, state),
        ranking=None if request.ranking is None else _ranking(request.ranking, fields, state, pieces),
    )


def _ranking(request: AggregateRequest, fields: Sequence[FieldFact], state: State, pieces: Sequence[Piece]) -> Plan:
    """The plan of what the curves of `pieces` are ordered by: all of them, also those that rollups alone have left."""
    made = plan(request, fields, state)
    if state.cut is None or request.order_by.fn in ROLLED_UP:
        return made
    left = [piece for piece in pieces if piece.rollup is not None and piece.start < state.cut]
    return replace(made, pieces=(*made.pieces, *left))


def telling_reach(plan: Plan, since: datetime) -> Plan:
    """The plan, with rows that tell at their end which points before them they are computed with."""
    pieces = tuple(
        piece._replace(parts=(*piece.parts, *((field, part) for field in piece.source.fields for part in REACH)))
        if piece.source.needs_before
        else piece
        for piece in plan.pieces
    )
    return replace(plan, pieces=pieces, reaches=since)


def _saves_by_rollups(request: AggregateRequest) -> bool:
    """Whether rollups can stand for points that must not be read anyway, and that are not few."""
    kept, others = _parts(request.fn)
    return bool(kept) and not others and request.end - request.start >= _least(request.match)


def _least(match: Sequence[Matcher]) -> timedelta:
    """The shortest range of which rollups are read."""
    if any(matcher.operator == "=" and matcher.value for matcher in match):
        return LEAST_OF_FEW_SERIES
    hosts = min((hosts for matcher in match if (hosts := hosts_named(matcher))), default=None)
    if hosts is None:
        return LEAST_OF_MANY_SERIES
    return max(min(LEAST_OF_NAMED_HOSTS / hosts, LEAST_OF_FEW_SERIES), LEAST_OF_MANY_SERIES)


@lru_cache(MOST_HELD)
def _parts(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts that functions need: those that rollups keep, and those that only points have, but for percentiles."""
    parts = parts_of(names)
    kept = tuple(part for part in parts if PARTS[part].of_rollup is not None)
    return kept, tuple(part for part in parts if part not in kept and part != PERCENTILES)


def _composed(request: AggregateRequest, fields: Sequence[FieldFact], state: State) -> list[Piece]:
    """The pieces that together are the whole range, as far as anything is kept of it."""
    if not state.rollups:
        return [Piece(request.start, request.end, None, parts) for parts in _of_points(request.fn, len(fields))]
    kept, others = _parts(request.fn)
    points = _points(request, state)
    is_gone = state.cut is not None and request.start < state.cut
    candidates = state.rollups if is_gone or _saves_by_rollups(request) else ()
    # Points that must be read anyway serve every function; where some are gone, rollups have more of those they keep.
    composed = kept if is_gone or not others else ()
    of_points = [part for part in (*kept, *others) if part not in composed]
    scans: dict[Stretch, list[tuple[int, str]]] = {}
    for place, field in enumerate(fields):
        if composed:
            rollups = [rollup for rollup in candidates if field.id in rollup.fields]
            for stretch in compose(request.start, request.end, request.windows, rollups, state.cut):
                scans.setdefault(stretch, []).extend((place, part) for part in composed)
        for stretch in points if of_points else []:
            scans.setdefault(stretch, []).extend((place, part) for part in of_points)
    pieces = [Piece(one.start, one.end, one.rollup, tuple(wanted)) for one, wanted in scans.items()]
    if together := _together(request.fn, len(fields)):
        pieces += [Piece(one.start, one.end, None, together) for one in points]
    return pieces


@lru_cache(MOST_HELD)
def _of_points(names: tuple[str, ...], fields: int) -> tuple[Parts, ...]:
    """The parts that functions of so many fields need, by scan, where there are points and nothing else."""
    kept, others = _parts(names)
    alone = tuple((place, part) for place in range(fields) for part in (*kept, *others))
    return tuple(parts for parts in (alone, _together(names, fields)) if parts)


def _together(names: tuple[str, ...], fields: int) -> Parts:
    """The parts that functions of so many fields need of the points of a group, taken together."""
    return tuple((place, PERCENTILES) for place in range(fields)) if PERCENTILES in parts_of(names) else ()


def _points(request: AggregateRequest, state: State) -> list[Stretch]:
    """The range, as far as its points are kept; at most one stretch."""
    start = max(request.start, state.cut) if state.cut else request.start
    return [Stretch(start, request.end, None)] if start < request.end else []


def _from_rollup(request: AggregateRequest, fields: Sequence[FieldFact], state: State) -> list[Piece]:
    """One rollup alone, as it stands: those of its buckets that lie wholly in the range."""
    parts = parts_of(request.fn)
    if any(PARTS[part].of_rollup is None for part in parts):
        raise BadRequest(
            f"resolution: rollups keep what {', '.join(ROLLED_UP)} are made of; allowed with a rollup: these functions",
            parameter="resolution",
        )
    scans: dict[Stretch, list[tuple[int, str]]] = {}
    for place, field in enumerate(fields):
        rollup = _named(request, field, state)
        if straddled(request.start, request.end, request.windows, rollup.width):
            raise BadRequest(
                f"resolution: windows of this step begin within the buckets of {rollup.name}; "
                f"allowed: a step of whole multiples of {rollup.size}",
                parameter="resolution",
            )
        for start, end in whole([(request.start, request.end)], rollup.width):
            scans.setdefault(Stretch(start, end, rollup), []).extend((place, part) for part in parts)
    return [Piece(one.start, one.end, one.rollup, tuple(wanted)) for one, wanted in scans.items()]


def _named(request: AggregateRequest, field: FieldFact, state: State) -> Rollup:
    having = [rollup for rollup in state.rollups if field.id in rollup.fields]
    for rollup in having:
        if request.resolution in (rollup.name, rollup.size):
            return rollup
    known = [word for rollup in having for word in (rollup.size, rollup.name)]
    raise BadRequest(
        f"resolution: {field.metric} has no rollup {shortened(request.resolution)!r}; "
        f"allowed: {', '.join(['auto', RAW, *known])}",
        parameter="resolution",
    )


def no_longer_kept(raw_from: datetime) -> str:
    """How an answer begins to tell that it is about points that may be gone."""
    return f"points before {written(raw_from)} are no longer kept"


def _warnings(request: AggregateRequest, pieces: Sequence[Piece], state: State) -> tuple[str, ...]:
    """What an answer has to tell that it cannot hold."""
    if request.resolution not in ("auto", RAW) or state.raw_from is None or request.start >= state.raw_from:
        return ()
    before = no_longer_kept(state.raw_from)
    if state.cut is None or request.resolution == RAW:
        return (f"{before}{MAY_BE_GONE}",)
    lost = [fn for fn in request.fn if fn not in ROLLED_UP]
    told = [f"{before}: {', '.join(lost)} cannot be had of them"] if lost else []
    gone = (request.start, min(request.end, state.raw_from))
    if len(lost) < len(request.fn) and not _is_read(gone, len(request.metric), pieces):
        told.append(f"{before}: what is older comes from rollups, whose buckets do not fit the whole range")
    return tuple(told)


def _is_read(gone: Range, fields: int, pieces: Sequence[Piece]) -> bool:
    """Whether all of a range is read of each field, from rollups since its points are gone."""
    read = [
        [(piece.start, piece.end) for piece in pieces if any(field == place for field, _ in piece.parts)]
        for place in range(fields)
    ]
    return not any(without([gone], ranges) for ranges in read)
