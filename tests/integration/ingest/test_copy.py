"""The binary format as the server reads it."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator

import asyncpg
import numpy as np
import pytest

from ingest.copy import Columns, encode

EXTREMES = [0.0, -0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53 + 2, -1 / 3]
EARLIEST_US = -210_866_803_200_000_000
"""4714-11-24 BC, the earliest timestamp that PostgreSQL has."""


def any_float(chance: random.Random) -> float:
    """A finite double of random bits, or an extreme one."""
    while True:
        value: float = struct.unpack("d", chance.randbytes(8))[0]
        if value - value == 0:
            return chance.choice([value, chance.choice(EXTREMES)])


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.mark.parametrize(("width", "count"), [(1, 2000), (10, 500), (1000, 20)])
async def test_what_is_encoded_is_what_the_server_stores(
    connection: asyncpg.Connection[asyncpg.Record], width: int, count: int
) -> None:
    """Random points come back bit for bit, times before 2000 and before our era among them."""
    chance = random.Random(width)
    fields = tuple(f"f{number:04}" for number in range(width))
    times = [EARLIEST_US, -1, 0, 946_684_800_000_000 - 1, 2**52]
    times += [chance.randrange(EARLIEST_US, 2**60) for _ in range(count - len(times))]
    values = [[any_float(chance) for _ in fields] for _ in times]
    ids = [chance.choice([1, 2**31 - 1, chance.randrange(1, 2**31)]) for _ in times]
    await connection.execute(
        "CREATE TABLE stored (time timestamptz, series_id int, "
        + ", ".join(f"{name} double precision" for name in fields)
        + ")"
    )
    data = encode(
        Columns(
            "stored",
            fields,
            np.array(ids, np.int32),
            np.array(times, np.int64),
            np.array(values, np.float64),
            np.arange(count, dtype=np.int64),
        )
    )

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    assert await connection.copy_to_table("stored", source=pieces(), format="binary") == f"COPY {count}"
    rows = await connection.fetch(
        "SELECT (extract(epoch FROM time) * 1000000)::bigint, series_id, "
        + f"ARRAY[{', '.join(fields)}] FROM stored ORDER BY ctid"
    )
    assert [row[0] for row in rows] == times
    assert [row[1] for row in rows] == ids
    stored = [struct.pack(f"{width}d", *row[2]) for row in rows]
    assert stored == [struct.pack(f"{width}d", *row) for row in values]
