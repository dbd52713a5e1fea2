from __future__ import annotations

import numpy as np
import pytest

from ingest.copy import Columns
from ingest.job import Job
from ingest.names import Limits
from ingest.points import Batch
from ingest.portions import Portions
from ingest.sqlstates import Meaning
from service.errors import BadRequest, Unavailable


def job() -> Job:
    """A job of no points."""
    return Job(Batch(Limits(1, 1, 1, 1)))


async def test_a_job_that_waits_is_refused_when_its_time_is_over() -> None:
    """It hears what kept it last."""
    late = job()
    late.set_back(Meaning.AGAIN, TimeoutError("as the test wants"))
    assert not late.done.done()
    late.end_wait()
    with pytest.raises(Unavailable, match="as the test wants"):
        await late.done


async def test_a_job_under_way_is_waited_for() -> None:
    """When its time is over meanwhile, it may still succeed, and is refused as soon as it would wait again."""
    good, bad = job(), job()
    for one in (good, bad):
        one.set_out()
        one.end_wait()
        assert not one.done.done()
    good.succeed()
    await good.done
    bad.set_back(Meaning.AGAIN, OSError("x"))
    with pytest.raises(Unavailable):
        await bad.done


async def test_a_job_that_is_tried_again_may_be_late_again() -> None:
    """Having been under way once does not keep it from being refused while it waits."""
    one = job()
    one.set_out()
    one.set_back(Meaning.UNKNOWN, OSError("x"))
    one.end_wait()
    with pytest.raises(Unavailable):
        await one.done


async def test_a_job_that_is_split_is_under_way() -> None:
    """It is waited for while its portions wait for their turn, unless it can be written again."""
    waited_for, repeatable = job(), Job(Batch(Limits(1, 1, 1, 1)), is_repeatable=True)
    for one in (waited_for, repeatable):
        one.set_out()
        one.set_back(Meaning.TOO_MUCH, OSError("x"))
        one.end_wait()
    assert not waited_for.done.done()
    with pytest.raises(Unavailable):
        await repeatable.done


async def test_a_job_that_fails_half_way_says_so() -> None:
    """What is committed in portions is told, whatever happens afterwards."""
    one = job()
    one.set_out()
    numbers = np.arange(250)
    one.portions = Portions([Columns("m", ("f",), np.ones(250, np.int32), numbers, np.ones((250, 1)), numbers)])
    one.portions.fitted()
    one.go_on()
    one.queue("another epoch", [])
    one.set_back(Meaning.AGAIN, TimeoutError("as the test wants"))
    one.end_wait()
    with pytest.raises(Unavailable, match="as the test wants; 100 of its points are committed"):
        await one.done


async def test_the_first_outcome_counts() -> None:
    """What comes after it, from a timer or a copier, changes nothing."""
    one = job()
    one.fail(BadRequest("refused"))
    one.succeed()
    one.end_wait()
    with pytest.raises(BadRequest):
        await one.done
