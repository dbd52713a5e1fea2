"""Making a batch's points unique: the same series and time again merges fields, and the last value wins."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np

from ingest.copy import Columns, by_key


def unique(shapes: Iterable[Columns]) -> list[Columns]:
    """The same points with no series and time twice, each shape sorted by key.

    `shapes` come as `copy.gather` gives them: sorted by measurement, places comparable throughout.
    """
    result: list[Columns] = []
    for _, group in groupby(shapes, key=lambda columns: columns.measurement):
        of_measurement = list(group)
        if len(of_measurement) == 1:
            result.append(_last(of_measurement[0]))
        else:
            result.extend(_merged(of_measurement))
    return result


def _last(columns: Columns) -> Columns:
    """Of points with one key, the last: they all have the same fields, so the others leave nothing behind."""
    ordered = columns.take(np.lexsort((columns.places, columns.times, columns.ids)))
    differs = (np.diff(ordered.ids) != 0) | (np.diff(ordered.times) != 0)
    return ordered.take(np.flatnonzero(np.append(differs, np.ones(min(1, len(columns)), bool))))


def _merged(shapes: list[Columns]) -> list[Columns]:
    """Points of several shapes, merged one by one in the order in which they came."""
    arrived = sorted(
        (place, shape, row) for shape, columns in enumerate(shapes) for row, place in enumerate(columns.places)
    )
    points: dict[tuple[int, int], dict[str, float]] = {}
    for _, shape, row in arrived:
        columns = shapes[shape]
        key = (int(columns.ids[row]), int(columns.times[row]))
        points.setdefault(key, {}).update(zip(columns.fields, columns.values[row].tolist(), strict=True))
    by_fields: dict[tuple[str, ...], list[tuple[tuple[int, int], dict[str, float]]]] = {}
    for key, fields in points.items():
        by_fields.setdefault(tuple(sorted(fields)), []).append((key, fields))
    measurement = shapes[0].measurement
    return [_columns(measurement, fields, rows) for fields, rows in sorted(by_fields.items())]


def _columns(
    measurement: str, fields: tuple[str, ...], rows: list[tuple[tuple[int, int], dict[str, float]]]
) -> Columns:
    return by_key(
        Columns(
            measurement,
            fields,
            np.array([key[0] for key, _ in rows], np.int32),
            np.array([key[1] for key, _ in rows], np.int64),
            np.array([[values[name] for name in fields] for _, values in rows], np.float64),
            np.arange(len(rows), dtype=np.int64),
        )
    )
