"""The limit: raw binary COPY of rows encoded beforehand, into a hypertable like Tidemark's own.

    python -m bench.limit DATABASE_URL FILE MEASUREMENT --connections 1

Reads FILE (as `bench.load` does), makes MEASUREMENT with the fields and series of its lines, encodes the rows, and only
then starts the clock: each connection copies `ROWS_A_COPY` rows a transaction. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import uvloop

from bench.load import load
from ingest.copy import Columns, by_key, encode, gather
from ingest.database import Pool
from ingest.names import Limits
from ingest.points import Batch
from ingest.protocols import line
from ingest.series import SeriesCache
from ingest.timestamps import Window

ROWS_A_COPY = 20_000
LIMITS = Limits(max_fields=1000, max_tags=100, max_tag_bytes=10_000, max_shapes=1000)
YEARS_20 = 20 * 365 * 86_400


def columns_of(file: Path) -> list[Columns]:
    """The lines of a file, a few bodies together, with series numbered as they come."""
    cache = SeriesCache(LIMITS, 2**40)
    window = Window.around(time.time_ns() // 1000, YEARS_20, YEARS_20)
    found: list[Columns] = []
    pieces: list[list[Columns]] = []
    ids = 0
    for body, _ in load(file):
        batch = Batch(LIMITS)
        for _ in line.decode(bytes(body), batch, cache, precision_ns=1, window=window):
            pass
        for rows in batch.rows:
            for series in rows.series:
                if not series.id:
                    ids += 1
                    series.id = ids
        pieces.append([Columns.of(rows, {name: name for name in rows.fields}) for rows in batch.rows])
        if sum(len(columns) for piece in pieces for columns in piece) >= ROWS_A_COPY:
            found += gather(pieces)
            pieces.clear()
    return found + gather(pieces)


async def measure(url: str, file: Path, measurement: str, connections: int) -> dict[str, float]:
    """Copy everything; rows and seconds."""
    columns = columns_of(file)
    fields = columns[0].fields
    if any(one.fields != fields for one in columns):
        raise SystemExit("the limit is measured on one measurement")
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections)
    async with pool:
        await pool.fetch("SELECT catalog.ensure_fields($1, $2)", measurement, list(fields))
        pile = iter([encode(by_key(one)) for one in columns])
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_copy_all(pool, measurement, fields, pile))
        seconds = time.perf_counter() - began
    rows = sum(map(len, columns))
    return {"lines": rows, "seconds": seconds, "lines_per_second": rows / seconds}


async def _copy_all(pool: Pool, measurement: str, fields: tuple[str, ...], pile: Iterator[bytes]) -> None:
    async with pool.acquire() as connection:
        for data in pile:
            await connection.copy_to_table(
                measurement,
                schema_name="points",
                columns=["time", "series_id", *fields],
                source=_once(data),
                format="binary",
            )


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure raw COPY.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("measurement")
    parser.add_argument("--connections", type=int, default=1)
    chosen = parser.parse_args()
    print(json.dumps(uvloop.run(measure(chosen.url, chosen.file, chosen.measurement, chosen.connections))))


if __name__ == "__main__":
    main()
