"""Fields that were looked up before, each in the epoch of the catalog in which it was. Pure.

In an epoch a field stays what it is. Another field may come that a metric means as well, but only where dots leave that
open: a metric with more than one is looked up each time.
"""

from __future__ import annotations

from collections.abc import Sequence

from query.facts import FieldFact, splits

MOST_FACTS = 50_000
"""Some 20 MB. All are forgotten when there would be more."""


class Known:
    """What is known of fields."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], FieldFact] = {}
        """By epoch and metric."""
        self._all: dict[tuple[str, str], tuple[FieldFact, ...]] = {}
        """By epoch and measurement: all of its fields, as many as there were."""
        self._in_all = 0
        """How many these are together."""

    def facts(self, epoch: str, metrics: Sequence[str]) -> list[FieldFact] | None:
        """What the metrics mean; None unless all are known."""
        found = [self._facts.get((epoch, metric)) for metric in metrics]
        return [fact for fact in found if fact is not None] if all(found) else None

    def fields_of(self, epoch: str, measurement: str) -> tuple[FieldFact, ...] | None:
        """All fields of a measurement, if they are known."""
        return self._all.get((epoch, measurement))

    def learn(self, epoch: str, facts: Sequence[FieldFact]) -> None:
        """Remember what was looked up."""
        found = {(epoch, fact.metric): fact for fact in facts if len(splits(fact.metric)) == 1}
        self._make_room(sum(key not in self._facts for key in found))
        self._facts |= found

    def learn_all(self, epoch: str, measurement: str, facts: Sequence[FieldFact]) -> None:
        """Remember that these are all fields of a measurement."""
        self._in_all -= len(self._all.pop((epoch, measurement), ()))
        self._make_room(len(facts))
        self._all[epoch, measurement] = tuple(facts)
        self._in_all += len(facts)

    def _make_room(self, coming: int) -> None:
        if len(self._facts) + self._in_all + coming > MOST_FACTS:
            self._facts.clear()
            self._all.clear()
            self._in_all = 0
