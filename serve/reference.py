"""The API's reference at `/docs`, drawn from files of a package: no page of ours loads anything from elsewhere."""

import importlib.util
from pathlib import Path
from typing import Literal

from starlette.responses import FileResponse, HTMLResponse, Response

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Perenne: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="data:,"></head>
<body><div id="reference"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>"""
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#reference", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], persistAuthorization: false});"""


def _folder() -> Path | None:
    """The files of `fastapi-offline`, which is never imported."""
    found = importlib.util.find_spec("fastapi_offline")
    return None if found is None or found.origin is None else Path(found.origin).parent / "static"


async def reference() -> Response:
    """The reference's page."""
    return HTMLResponse(_PAGE)


async def reference_file(name: Literal["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]) -> Response:
    """What the page loads."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    folder = _folder()
    if folder is None or not (folder / name).is_file():
        return Response("the package fastapi-offline is not installed; /openapi.json is here all the same", 404)
    return FileResponse(folder / name, headers={"Cache-Control": "public, max-age=86400"})
