"""Instruments that are asked for the same labels with every request."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client.metrics import MetricWrapperBase

MOST_CHILDREN = 256
"""Labels of an instrument whose child is remembered."""


def remember_children(*instruments: MetricWrapperBase) -> None:
    """Have `labels` of these find what it has found before.

    By itself it makes text of them and takes a lock each time, which costs more than to count. No child may be removed:
    who remembers it would count on.
    """
    for one in instruments:
        one.labels = lru_cache(MOST_CHILDREN)(one.labels)  # type: ignore[method-assign]
