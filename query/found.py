"""Points as an answer: which columns a row has, and what is told around the rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from query.facts import FieldFact
from query.pages import Page
from query.points import PointsRequest
from query.tables import Column, Kind, ListDocument, distinct


class Found:
    """The form of the answer: in JSON each point is a list, whose members `columns` names."""

    def __init__(self, request: PointsRequest, fields: Sequence[FieldFact], warnings: Sequence[str] = ()) -> None:
        self._request = request
        self._warnings = warnings
        self._measurement = fields[0].measurement
        names = distinct(["time", "id", *request.by, *(fact.field for fact in fields)])
        known: list[Kind] = ["time", "integer"]
        tags: list[Kind] = ["text"] * len(request.by)
        numbers: list[Kind] = ["number"] * len(fields)
        kinds = [*known, *tags, *numbers]
        self.columns = tuple(Column(name, kind) for name, kind in zip(names, kinds, strict=True))

    def document(self, page: Page) -> ListDocument:
        """The JSON document of the points of a page."""
        head = {
            "measurement": self._measurement,
            "start": self._request.start,
            "end": self._request.end,
            "columns": [column.name for column in self.columns],
            **({"warnings": self._warnings} if self._warnings else {}),
        }

        def told() -> dict[str, Any]:
            following = page.told()["next"]
            return {"next": None if following is None else str(following)}

        return ListDocument("points", None, head, told)
