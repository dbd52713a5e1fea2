"""The errors that a client is told, and the one body that carries them.

    TidemarkError                what we raise on purpose
    └── HttpError                an answer to a request
        ├── BadRequest      400  what was sent cannot be understood; says what, where, what is allowed
        ├── NotFound        404
        ├── NotAcceptable   406  an answer in a format that is not made here
        ├── RequestTimeout  408  the body did not arrive in time
        ├── TooLarge        413  past a documented size
        ├── Unsupported     415  an encoding or type that is not read here
        ├── Unmet           417  the head expects what is not done here
        ├── TooManyRequests 429  more at a time than one client may have
        └── Unavailable     503  overload or an outage: the same request may be sent again later

The body reads the same to every client: InfluxDB's v1 clients look at `error`, v2 clients at `code` and
`message`, people at `message`. Anything else that helps stands beside them under its own name.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TidemarkError(Exception):
    """The base of every error raised on purpose."""


class HttpError(TidemarkError):
    """An error with an HTTP status; `message` is for the client, `details` join the body's members."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the answer."""
        return {}

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return error_body(self.code, self.message, **self.details)


class BadRequest(HttpError):
    """The request cannot be understood as it is; sending it again will not help."""

    status = 400
    code = "invalid"


class NotFound(HttpError):
    """What was asked for does not exist."""

    status = 404
    code = "not found"


class NotAcceptable(HttpError):
    """The answer is wanted in a format that is not made here."""

    status = 406
    code = "not acceptable"


class RequestTimeout(HttpError):
    """The body did not arrive in time."""

    status = 408
    code = "request timeout"


class TooLarge(HttpError):
    """The body is past a documented size."""

    status = 413
    code = "request too large"


class Unsupported(HttpError):
    """The body's encoding or type is not read here."""

    status = 415
    code = "unsupported media type"


class Unmet(HttpError):
    """The request's Expect asks for something else than 100-continue."""

    status = 417
    code = "expectation failed"


class TooManyRequests(HttpError):
    """More requests at the same time than one client may have; it may send this one when others are answered."""

    status = 429
    code = "too many requests"

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, in whole seconds."""
        return {"Retry-After": "1"}


class Unavailable(HttpError):
    """Overload or an outage; the client may send the same request again after `retry_after_seconds`."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 1, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, in whole seconds."""
        return {"Retry-After": str(self.retry_after_seconds)}


def error_body(code: str, message: str, **details: Any) -> dict[str, Any]:
    """The members every error body has, then whatever else helps."""
    return {"code": code, "error": message, "message": message, **details}
