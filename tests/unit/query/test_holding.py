from __future__ import annotations

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from query.holding import Holding
from query.instruments import Instruments
from query.settings import QuerySettings


def test_what_is_held() -> None:
    """One answer has its bound, and all together theirs; what is sent makes room, and so does the end of a request."""
    registry = CollectorRegistry()
    settings = QuerySettings(database_url=SecretStr("postgresql:///x"), max_held_bytes=10, max_all_held_bytes=15)
    holding = Holding(settings, Instruments(registry))
    with holding.one() as first:
        assert first.now(9)
        assert not first.now(10)
        with holding.one() as second:
            assert second.now(4)
            assert not second.now(5)
            assert registry.get_sample_value("query_held_bytes") == 15
            first.now(0)
            assert second.now(9)
    assert registry.get_sample_value("query_held_bytes") == 0
