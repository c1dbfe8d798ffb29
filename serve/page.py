"""The web page's files: what is built to `web/dist`, with caching by hashed names; one plain page while it is not built."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

DIST = Path(__file__).resolve().parent.parent / "web" / "dist"

_HASHED = "public, max-age=31536000, immutable"  # Vite puts a hash into each name under assets/
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Perenne</title>
<h1>Perenne runs, but its page is not built.</h1>
<p>Build it with <code>make run</code>, or use <code>perenne</code> on the command line and <a href="/docs">the API</a> meanwhile.</p></html>"""


class Page:
    """Serves the page at any path that no route has: a file of that name, else the page itself."""

    def __init__(self, dist: Path = DIST) -> None:
        self._dist = dist
        self._files = StaticFiles(directory=dist, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = await self._answer(scope)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        path = self._files.get_path(scope)
        try:
            answer = await self._files.get_response(path, scope)
        except HTTPException as error:
            if path != "." and (error.status_code != 404 or "." in path.rpartition("/")[2]):
                raise
            return self._index()
        except RuntimeError:  # no such folder
            return self._index()
        answer.headers["cache-control"] = _HASHED if path.startswith("assets/") else "no-cache"
        return answer

    def _index(self) -> Response:
        index = self._dist / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT, 200, {"Cache-Control": "no-store"})
        return FileResponse(index, headers={"Cache-Control": "no-cache"})
