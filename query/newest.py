"""The newest point of each series: which columns are read, and what a row becomes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from query.facts import FieldFact, Measurement
from query.tables import Column, Row, distinct, texts

SERIES = (Column("id", "integer"), *texts("measurement", "host"), Column("tags", "object"), Column("time", "time"))

FieldsOf = Sequence[tuple[Measurement, Sequence[FieldFact]]]
"""Measurements, and the fields of each that are wanted: one at least."""


class Newest:
    """The form of the answer. The fields of one measurement are columns; those of several are one object."""

    def __init__(self, fields: FieldsOf) -> None:
        self.among = [(measurement, [fact.column for fact in facts]) for measurement, facts in fields]
        """What `list_statements.last` is to read."""
        self.width = max((len(facts) for _, facts in fields), default=1)
        """The most numbers of a row."""
        self._measurements = [measurement.name for measurement, _ in fields]
        self._fields = [[fact.field for fact in facts] for _, facts in fields]
        self._is_wide = len(fields) == 1
        if self._is_wide:
            names = distinct([*(column.name for column in SERIES), *self._fields[0]])[len(SERIES) :]
            self.columns = (*SERIES, *(Column(name, "number") for name in names))
        else:
            self.columns = (*SERIES, Column("fields", "object"))

    def row(self, found: Row) -> Row:
        """A row of the table from one of the statement's: (id, place, host, tags, time, values)."""
        series_id, place, host, tags, time, values = found
        known = (series_id, self._measurements[place], host, tags, time)
        return (*known, *values) if self._is_wide else (*known, _present(self._fields[place], values))

    def item(self, row: Row) -> dict[str, Any]:
        """The same in JSON, where only the fields that the point has stand."""
        item = dict(zip((column.name for column in SERIES), row, strict=False))
        item["fields"] = _present(self._fields[0], row[len(SERIES) :]) if self._is_wide else row[-1]
        return item


def _present(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
