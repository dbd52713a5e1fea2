"""The endpoints of the page: its index at `/`, and its other files under an address that has their version."""

from __future__ import annotations

from aiohttp import ETag, web

from query.negotiation import by_quality
from query.page.files import File, Files
from service.errors import NotFound

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text that clients sent can become markup, whatever a script of ours does with it.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

SECURITY = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

ASK_AGAIN = "no-cache"
FOR_GOOD = "public, max-age=31536000, immutable"
"""A year: the address of a file changes when its content does."""


class NoSuchFile(NotFound):
    """A file of another version, which another process may have: during an upgrade, no cache may keep this."""

    @property
    def headers(self) -> dict[str, str]:
        """That it is not to be kept."""
        return {"Cache-Control": "no-store"}


class Page:
    """The handlers, and the paths they answer."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def table(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [web.get("/", self.index), web.get("/assets/{version}/{name}", self.asset)]

    async def index(self, request: web.Request) -> web.Response:
        """The page: 200, or 304 for one who has it."""
        return _answer(request, self._files.index, ASK_AGAIN)

    async def asset(self, request: web.Request) -> web.Response:
        """A file of the page: 200, or 304; 404 for one of another version, whose place is in another cache."""
        file = self._files.assets.get(request.match_info["name"])
        if file is None or request.match_info["version"] != self._files.version:
            raise NoSuchFile("the page has no such file, or no longer: load the page again")
        return _answer(request, file, FOR_GOOD)


def _answer(request: web.Request, file: File, cache_control: str) -> web.Response:
    compressed = "gzip" in by_quality(request.headers.get("Accept-Encoding", ""), ("gzip",))
    tag = ETag(f"{file.digest[:32]}-gzip" if compressed else file.digest[:32])
    known = request.if_none_match or ()
    headers = {**SECURITY, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if any(one.value in (tag.value, "*") for one in known):
        response = web.Response(status=304, headers=headers)
    else:
        if compressed:
            headers["Content-Encoding"] = "gzip"
        response = web.Response(
            body=file.gzipped if compressed else file.plain,
            headers=headers,
            content_type=file.content_type,
            charset="utf-8",
        )
    response.etag = tag
    return response
