from __future__ import annotations

from contextlib import aclosing

from query.tables import Batches, Row, Short, mapped


async def batches_of(short: Batches) -> list[list[Row]]:
    """As whoever reads batches has them."""
    async with aclosing(short):
        return [batch async for batch in short]


async def test_what_is_short_is_a_batch() -> None:
    """Once; and without rows none, as where a statement has none."""
    short = Short([(1, "a"), (2, "b")])
    assert await batches_of(short) == [[(1, "a"), (2, "b")]]
    assert await batches_of(short) == []
    assert await batches_of(Short([])) == []


async def test_batches_that_become_others() -> None:
    """Of what is short at once, of others when they are read; who closes them closes what they are made of."""
    seen: list[str] = []

    async def two() -> Batches:
        try:
            for number in (1, 2):
                yield [(number,)]
        finally:
            seen.append("closed")

    def doubled(batch: list[Row]) -> list[Row]:
        seen.append("taken")
        return [(2 * number,) for (number,) in batch]

    short = mapped(Short([(3,)]), doubled)
    assert seen == ["taken"]
    assert await batches_of(short) == [[(6,)]]
    assert await batches_of(mapped(two(), doubled)) == [[(2,)], [(4,)]]
    seen.clear()
    async with aclosing(mapped(two(), doubled)) as batches:
        assert seen == []
        assert await anext(batches) == [(2,)]
    assert seen == ["taken", "closed"]
