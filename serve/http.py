"""The edge as one ASGI application: tests and benchmarks run it under bare uvicorn, `serve.app` under Ray Serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from perenne.directory import Directory
from perenne.settings import Settings
from serve.addresses import Addresses
from serve.answers import json_answer
from serve.document import operation, whole
from serve.door import Door
from serve.edge import Edge
from serve.errors import add_error_handlers
from serve.guard import Access, Guard
from serve.page import DIST, Page
from serve.request_ids import RequestIds
from serve.routes import OTHERS, TABLE, nothing_here
from serve.sockets import run_socket

_ANY = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


def build_app(settings: Settings, directory: Directory, dist: Path = DIST) -> FastAPI:
    """The application. It owns nothing that must survive it."""
    edge = Edge(settings, directory)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        edge.open()
        yield
        edge.close()

    app = FastAPI(title="Perenne", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life, redirect_slashes=False)
    app.state.edge = edge
    add_error_handlers(app)
    app.router.routes.extend(copy(route) for route in _routes())
    _add_others(app, dist)
    table: dict[tuple[str, str], Access] = {(line.method, line.path): line.access for line in TABLE}
    for route in app.routes:
        held: Any = route
        held.app = Guard(held.app, access_of(route, table), edge.keyring, edge.pace, edge.tickets, edge.vitals)
    app.add_middleware(Addresses, hosts=settings.edge.hosts, behind_proxy=settings.edge.behind_tls_proxy)
    app.add_middleware(Door, settings=settings.edge, vitals=edge.vitals)
    # Serve's own proxy, which HAProxy replaces, writes the header itself.
    app.add_middleware(RequestIds, in_headers=settings.edge.haproxy)
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Those of the table. They know no application, and to make their models takes most of a second: once is enough for all of a process."""
    router = APIRouter()
    for line in TABLE:
        router.add_api_route(
            line.path,
            line.route,
            methods=[line.method],
            status_code=line.status,
            response_model=line.answer,
            include_in_schema=line.shown,
            **operation(line),
        )
    return tuple(router.routes)


def _add_others(app: FastAPI, dist: Path) -> None:
    app.openapi = lambda: whole(app, TABLE)  # type: ignore[method-assign]

    async def document(_: Request) -> Response:
        return json_answer(app.openapi())

    app.add_route("/openapi.json", document, include_in_schema=False)
    app.add_api_websocket_route("/ws", run_socket)
    for rest in ("/api/{rest:path}", "/v1/{rest:path}"):
        app.add_api_route(rest, nothing_here, methods=_ANY, include_in_schema=False)
    app.router.routes.append(Mount("/", app=Page(dist)))


def access_of(route: BaseRoute, table: dict[tuple[str, str], Access]) -> Access | None:
    """What the table says of a route; None, which lets nobody in, when it says nothing."""
    path: Any = getattr(route, "path", None)
    methods: set[str] = getattr(route, "methods", None) or set()
    found: set[Access | None] = {table.get((method, path)) for method in methods}
    return found.pop() if len(found) == 1 and None not in found else OTHERS.get(path)
