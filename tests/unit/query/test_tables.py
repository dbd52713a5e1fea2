from __future__ import annotations

from contextlib import aclosing

from query.tables import Row, Short


async def batches_of(short: Short) -> list[list[Row]]:
    """As whoever reads batches has them."""
    async with aclosing(short):
        return [batch async for batch in short]


async def test_what_is_short_is_a_batch() -> None:
    """Once; and without rows none, as where a statement has none."""
    short = Short([(1, "a"), (2, "b")])
    assert await batches_of(short) == [[(1, "a"), (2, "b")]]
    assert await batches_of(short) == []
    assert await batches_of(Short([])) == []
