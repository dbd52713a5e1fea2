"""`/openapi.json`, and at `/docs` a page that shows it: Swagger UI from an installed package, so it works offline.

The page loads nothing from elsewhere, and is not allowed to: its Content-Security-Policy says so. Its icon is an empty
one that stands in the page: without any, a browser would ask for one that is not there.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

PACKAGE = "mkdocs_swagger_ui_tag"
"""What brings Swagger UI; none of its code runs."""
FILES = {
    "swagger-ui-bundle.js": ("javascripts", "text/javascript"),
    "swagger-ui.css": ("stylesheets", "text/css"),
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
    url: new URL("openapi.json", document.baseURI).href,
    dom_id: "#ui",
    validatorUrl: null,
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
});
"""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def add_routes(app: web.Application, document: dict[str, Any]) -> None:
    """Give `app` the description, and its page."""
    described = orjson.dumps(document)
    page = PAGE.format(title=document["info"]["title"])
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}

    async def description(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def start(_: web.Request) -> web.Response:
        return web.Response(text=START, content_type="text/javascript", headers=headers)

    async def file(request: web.Request) -> web.FileResponse:
        folder, kind = FILES[request.match_info["name"]]
        path = _swagger_ui() / folder / request.match_info["name"]
        return web.FileResponse(path, headers={**headers, "Content-Type": kind, "Cache-Control": "max-age=86400"})

    app.router.add_get("/openapi.json", description)
    app.router.add_get("/docs", docs)
    app.router.add_get("/docs/start.js", start)
    app.router.add_get(f"/docs/{{name:{'|'.join(name.replace('.', '[.]') for name in FILES)}}}", file)


def _swagger_ui() -> Path:
    """Where the package has it; finding it does not run the package's code, which wants another program's."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "swagger-ui"
