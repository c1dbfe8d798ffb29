"""What stands before each route: the key, its scope and its rate, before a byte of the body is read."""

import time
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from perenne.errors import Forbidden, PerenneError, RateLimited, Unauthorized
from perenne.settings import EdgeSettings
from serve.caller import Caller
from serve.door import ROUTE_ASKED, refuse_socket
from serve.errors import status_of
from serve.keyring import Keyring
from serve.tickets import Tickets
from serve.vitals import Vitals

Access = Literal["open", "read", "write", "admin"]


class Pace:
    """Requests a minute and key, counted in memory, of one replica."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())  # of asyncio: the other one may start a thread for a request
        self._item = RateLimitItemPerMinute(settings.requests_per_minute)

    async def count(self, key_id: str) -> None:
        """RateLimited when this is one request too many."""
        if not await self._limiter.hit(self._item, key_id):
            resets_at = (await self._limiter.get_window_stats(self._item, key_id)).reset_time
            raise RateLimited("this key", max(1.0, resets_at - time.time()))


class Guard:
    """One route's guard. `access` None (no line in the table) lets nobody in."""

    def __init__(
        self, app: ASGIApp, access: Access | None, keyring: Keyring, pace: Pace, tickets: Tickets, vitals: Vitals
    ) -> None:
        self.app = app
        self.access: Access | None = access
        self._keyring, self._pace, self._tickets, self._vitals = keyring, pace, tickets, vitals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if ROUTE_ASKED in scope:
            scope[ROUTE_ASKED].append(getattr(scope.get("route"), "path", "page"))
        if self.access == "open":
            await self.app(scope, receive, send)
            return
        try:
            scope["caller"] = await self._caller(scope)
        except PerenneError as error:
            if scope["type"] != "websocket":
                raise  # the door counts it
            if isinstance(error, Unauthorized | Forbidden):
                self._vitals.refused("a WebSocket", status_of(error), time.monotonic())
            await refuse_socket(error, scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        authorization = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"authorization"), None)
        if scope["type"] == "websocket" and authorization is None:
            key_hash = await self._tickets.spend(scope["query_string"].decode("latin-1"))
            caller = await self._keyring.by_hash(key_hash)
        else:
            caller = await self._keyring.caller(authorization)
        await self._pace.count(caller.key.id)
        if self.access is None:
            raise Forbidden("any: this route is not in the table of access")
        if self.access != "open":
            caller.need(self.access)
        return caller
