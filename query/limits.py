"""The bounds of a request that its form does not tell, and the refusal that names the setting and the remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from query.parameters import Matcher
from query.points import PointsRequest
from query.settings import QuerySettings
from query.tables import Row, tags_of
from query.window import AggregateRequest
from service.errors import BadRequest


class Limited(BadRequest):
    """The request is understood, and asks for more than a setting allows: 400 with the code `limit`.

    It is the client's to change: sending the same again will not help, so it is no 503.
    """

    code = "limit"

    def __init__(self, setting: str, allowed: float, what: str, remedy: str) -> None:
        variable = f"QUERY_{setting.upper()}"
        super().__init__(f"{what}: {variable} allows {allowed}; {remedy}", limit=variable, allowed=allowed)
        self.setting = setting


def check_aggregate(request: AggregateRequest, settings: QuerySettings) -> None:
    """Raise `Limited` for a request whose size alone is past a bound."""
    columns = len(request.metric) * len(request.fn)
    if columns > settings.max_columns:
        raise Limited(
            "max_columns",
            settings.max_columns,
            f"{columns} pairs of metric and fn",
            "ask for fewer metrics or functions at a time",
        )
    _check_tags("by", request.by, settings)
    check_matchers(request.match, settings)
    if request.limit is not None and request.limit > settings.max_series:
        raise Limited("max_series", settings.max_series, f"limit: {request.limit} series", "give a lower limit")
    if request.windows is not None:
        windows = request.windows.count(request.start, request.end)
        if windows * columns > settings.max_values:
            raise too_many_values(settings, f"{windows} windows of {columns} values")


def check_points(request: PointsRequest, settings: QuerySettings) -> None:
    """Raise `Limited` for a request whose size alone is past a bound."""
    for name, count in (("metric", len(request.metric)), ("where", len(request.where))):
        if count > settings.max_columns:
            raise Limited("max_columns", settings.max_columns, f"{name}: {count} given", "give fewer")
    _check_tags("by", request.by, settings)
    check_matchers(request.match, settings)


class AnswerSize:
    """How large the answer of an aggregate has become, whose rows have so many tags and values."""

    def __init__(self, settings: QuerySettings, tags: int, values: int) -> None:
        self._settings = settings
        self._has_tags = tags > 0
        self._tags_of = tags_of(tags)
        self._rows_left = settings.max_values // values
        self._series_left = settings.max_series
        self._last: Any = self
        """The tags of the last series; of none yet."""

    def take(self, batch: list[Row]) -> list[Row]:
        """The next rows, which are sorted by series, counted. Raises `Limited` past a bound."""
        self._rows_left -= len(batch)
        if self._rows_left < 0:
            raise too_many_values(self._settings, f"more than {self._settings.max_values} values")
        for tags, _ in groupby(batch if self._has_tags else batch[:1], self._tags_of):
            if tags != self._last:
                self._last = tags
                self._series_left -= 1
        if self._series_left < 0:
            raise too_many_series(self._settings)
        return batch


def check_matchers(matchers: tuple[Matcher, ...], settings: QuerySettings) -> None:
    """Raise `Limited` for too many matchers, or one that is too long."""
    _check_tags("match", tuple(str(one) for one in matchers), settings)


def too_many_values(
    settings: QuerySettings,
    what: str,
    remedy: str = "ask for a longer step, a shorter range, or fewer series by match",
) -> Limited:
    """An answer with more numbers than it may have."""
    return Limited("max_values", settings.max_values, what, remedy)


def too_many_series(
    settings: QuerySettings, remedy: str = "group by fewer tags, or choose fewer series by match"
) -> Limited:
    """An answer with more series than it may have."""
    return Limited("max_series", settings.max_series, f"more than {settings.max_series} series", remedy)


def too_many_names(settings: QuerySettings, what: str, remedy: str) -> Limited:
    """A list with more entries than it may have."""
    return Limited("max_names", settings.max_names, f"more than {settings.max_names} {what}", remedy)


def check_search(search: str | None, settings: QuerySettings) -> None:
    """Raise `Limited` for a text to search that is too long."""
    _check_tags("search", () if search is None else (search,), settings)


def too_large_a_page(refusal: Limited, limit: int, most: int) -> Limited:
    """A page of more entries than an answer may have, whose refusal as a whole would be `refusal`."""
    allowed = refusal.details["allowed"]
    return Limited(refusal.setting, allowed, f"limit: {limit} entries, of which {most} fit", "give a lower limit")


def too_many_measurements(settings: QuerySettings, *, has_range: bool) -> Limited:
    """A list that would have to look into the points of more measurements than it may; some do only for a range."""
    without = ", or ask without start and end" if has_range else ""
    return Limited(
        "max_measurements",
        settings.max_measurements,
        f"the points of more than {settings.max_measurements} measurements",
        f"choose one by measurement, or fewer by match{without}",
    )


def beyond_doubles() -> BadRequest:
    """Numbers of which something is computed that double precision has no place for."""
    return BadRequest(
        "fn: what is computed of these points is beyond double precision (5e-324 to 1.8e308); allowed: "
        "a shorter range, fewer series, or another function",
        parameter="fn",
    )


def finite(places: Sequence[int], batch: list[Row]) -> list[Row]:
    """The next rows. Raises `BadRequest` where one of the numbers in these places is none.

    Of points that are further apart than any double, PostgreSQL has Infinity for a percentile between them, where other
    functions fail; JSON has no such number, and the other formats have.
    """
    for row in batch:
        for place in places:
            if row[place] is not None and not math.isfinite(row[place]):
                raise beyond_doubles()
    return batch


def too_slow(settings: QuerySettings) -> Limited:
    """A statement that ran until its timeout."""
    return Limited(
        "statement_timeout_seconds",
        settings.statement_timeout_seconds,
        f"no answer after {settings.statement_timeout_seconds} seconds",
        "ask for a shorter range, fewer metrics, or fewer series by match",
    )


def _check_tags(parameter: str, texts: tuple[str, ...], settings: QuerySettings) -> None:
    if len(texts) > settings.max_tags:
        raise Limited("max_tags", settings.max_tags, f"{parameter}: {len(texts)} given", "give fewer")
    longest = max((len(text.encode()) for text in texts), default=0)
    if longest > settings.max_tag_bytes:
        raise Limited(
            "max_tag_bytes", settings.max_tag_bytes, f"{parameter}: one of {longest} bytes", "make it shorter"
        )
