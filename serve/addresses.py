"""By which name this server was called, and from which page: what keeps other sites' pages in the owner's browser out.

A page of a public name can have that name point to 127.0.0.1 once it is loaded (DNS rebinding): to the browser our answers are
then its own. Its name stays in `Host`. And what a page sends to another address than its own carries `Origin`."""

import contextlib
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from perenne.errors import InvalidRequest
from serve.door import refuse_socket
from serve.errors import error_answer

_NEVER_PUBLIC = (".localhost", ".svc", ".svc.cluster.local")  # names that no stranger can own; others go to edge.hosts


def name_in(netloc: str) -> str | None:
    """The name or address in `name:port`, in small letters; None when it is neither."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port  # a number, or ValueError
    except ValueError:
        return None
    if parts.netloc == netloc and parts.username is None and parts.hostname:
        return parts.hostname
    return None


def known(name: str | None, hosts: tuple[str, ...]) -> bool:
    """Whether a name cannot be rebound by a stranger: an IP address, one without a dot, or one that the owner listed."""
    if name is None:
        return False
    with contextlib.suppress(ValueError):
        ip_address(name)
        return True
    return "." not in name or name.endswith(_NEVER_PUBLIC) or name in hosts


def refusal(
    host: list[str], origin: list[str], hosts: tuple[str, ...], forwarded: tuple[str, ...] = ()
) -> InvalidRequest | None:
    """Why a request with these headers gets nothing, whatever its key. `forwarded`: the names by which a proxy, which is believed,
    says that it was called; they are no way around the check of `Host`."""
    for called in (*host, *forwarded):
        if not known(name_in(called), hosts):
            return InvalidRequest(
                "this server is not known by the name in Host: call it by its address, or list the name under edge.hosts",
                "Host",
            )
    for page in origin:
        netloc = page.partition("://")[2]
        own = [[called.lower()] for called in forwarded] + [[called.lower() for called in host]]
        if [netloc.lower()] not in own and name_in(netloc) not in hosts:
            return InvalidRequest(
                "a page of another site may not call this server: list its name under edge.hosts if it is yours", "Origin"
            )
    return None


def _is_of_a_proxy(header: bytes) -> bool:
    return header.startswith(b"x-forwarded-") or header in (b"forwarded", b"x-real-ip")


class Addresses:
    """Stands before every route, page and WebSocket. What a proxy says of the request is kept only when there is one."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], behind_proxy: bool = False) -> None:
        self._app, self._hosts, self._behind_proxy = app, tuple(host.lower() for host in hosts), behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        origin = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        forwarded: tuple[str, ...] = ()
        if self._behind_proxy:
            said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-host"]
            forwarded = tuple(called.strip() for value in said for called in value.split(","))
        else:
            scope = {**scope, "headers": [pair for pair in scope["headers"] if not _is_of_a_proxy(pair[0])]}
        error = refusal(host, origin, self._hosts, forwarded)
        if error is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_socket(error, scope, receive, send)
        else:
            await error_answer(scope["path"], error)(scope, receive, send)
