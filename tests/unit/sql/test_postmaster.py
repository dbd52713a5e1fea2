from __future__ import annotations

import pytest

from service.settings import MEBIBYTES
from sql.postmaster import shared_buffers_mebibytes


@pytest.mark.parametrize(("memory", "buffers"), [(100, 64), (512, 128), (2048, 512), (4096, 1024), (262_144, 1024)])
def test_shared_buffers_follow_the_memory(memory: int, buffers: int) -> None:
    """A quarter of it, within bounds; all in mebibytes."""
    assert shared_buffers_mebibytes(memory * MEBIBYTES) == buffers
