"""The one body that every error has."""

from __future__ import annotations

import pytest

from service.errors import (
    BadRequest,
    HttpError,
    NotFound,
    RequestTimeout,
    TidemarkError,
    TooLarge,
    Unavailable,
    Unsupported,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest, 400, "invalid"),
        (NotFound, 404, "not found"),
        (RequestTimeout, 408, "request timeout"),
        (TooLarge, 413, "request too large"),
        (Unsupported, 415, "unsupported media type"),
        (Unavailable, 503, "unavailable"),
    ],
)
def test_errors_read_the_same_to_every_client(error: type[HttpError], status: int, code: str) -> None:
    """InfluxDB's first version looks at `error`, its second at `code` and `message`; details stand beside them."""
    raised = error("what was wrong", parameter="precision")
    assert isinstance(raised, TidemarkError)
    assert (raised.status, str(raised)) == (status, "what was wrong")
    assert raised.body() == {
        "code": code,
        "error": "what was wrong",
        "message": "what was wrong",
        "parameter": "precision",
    }


def test_only_an_outage_says_when_to_come_again() -> None:
    """`Retry-After` in whole seconds."""
    assert Unavailable("later", retry_after_seconds=7).headers == {"Retry-After": "7"}
    assert Unavailable("later").headers == {"Retry-After": "1"}
    assert BadRequest("never").headers == {}
