"""Following the feed of changes over `/ws`."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import websockets

from perenne.api import decode
from perenne.errors import Busy, DeadlineExceeded, PerenneError, Unavailable
from perenne.http_errors import NotPerenne, error_of
from perenne.messages.records import Change

_OPEN_S = 5.0
_PING_S = 5.0  # how often a quiet server is asked for a sign of life, and how long it may take
_MESSAGE_BYTES_MAX = 1 << 20
_AGAIN_S = (0.3, 5.0)  # first and longest pause before the next connection


class ChangesOverSocket:
    """The changes after a number, through cut connections: resumed at the last one that was given, each once."""

    def __init__(self, address: str, key: str | None, after: int | None, origin: str | None, deadline_s: float) -> None:
        self._address, self._deadline_s = address.rstrip("/"), deadline_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._after, self._origin = after, origin

    async def read(self) -> AsyncGenerator[Change]:
        """See `Perenne.changes`."""
        now = asyncio.get_running_loop().time
        alive_at, pause = now(), _AGAIN_S[0]
        while True:
            try:
                async with aclosing(self._once()) as connection:
                    async for change in connection:
                        alive_at, pause = now(), _AGAIN_S[0]
                        if change is not None:
                            yield change
            except (Unavailable, Busy, DeadlineExceeded):
                if now() - alive_at > self._deadline_s:
                    raise
            await asyncio.sleep(pause)
            pause = min(_AGAIN_S[1], pause * 2)

    async def _once(self) -> AsyncGenerator[Change | None]:
        """One connection's worth; None says that the server watches."""
        connecting = websockets.connect(
            self._address.replace("http", "ws", 1) + "/ws",
            additional_headers=self._headers,
            open_timeout=_OPEN_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1.0,
            max_size=_MESSAGE_BYTES_MAX,
        )
        try:
            async with connecting as socket:
                asked = {"type": "watch", "after": self._after, "origin": self._origin}
                await socket.send(json.dumps({name: value for name, value in asked.items() if value is not None}))
                async for text in socket:
                    for change in self._taken(json.loads(text)):
                        yield change
        except websockets.InvalidStatus as error:
            raise self._refusal(error) from error
        except (OSError, websockets.WebSocketException, TimeoutError) as error:
            if isinstance(error, websockets.ConnectionClosed):
                return  # restarted, cut, or we were too slow: there is more where it ended
            raise Unavailable(self._address, 1.0, str(error) or type(error).__name__) from error
        except ValueError as error:
            raise NotPerenne(self._address, "a message that is none of ours") from error

    def _taken(self, message: dict[str, Any]) -> list[Change | None]:
        kind = message.get("type")
        if kind == "error":
            raise self._told(message["error"])
        if kind == "watching":
            first, self._origin = self._after is None, message["origin"]
            begun_anew = not first and not message["complete"]
            self._after = int(message["after"])
            if first or begun_anew:
                op = "start" if first else "reset"
                return [Change(seq=self._after, entity="feed", id=message["origin"], op=op)]
            return [None]
        if kind == "change":
            change: Change = decode(Change, message["change"])
            self._after = change.seq
            return [change]
        return []

    def _told(self, error: dict[str, Any]) -> PerenneError:
        status = {"unauthorized": 401, "forbidden": 403, "rate_limited": 429, "conflict": 503}.get(error.get("code", ""), 503)
        return self._error(status, {}, json.dumps({"error": error}).encode())

    def _refusal(self, error: websockets.InvalidStatus) -> PerenneError:
        response = error.response
        return self._error(response.status_code, dict(response.headers.raw_items()), bytes(response.body or b""))

    def _error(self, status: int, headers: dict[str, str], body: bytes) -> PerenneError:
        kept = {name: value for name, value in headers.items() if name.lower() in ("retry-after", "content-type")}
        return error_of(httpx.Response(status, headers=kept, content=body, request=httpx.Request("GET", self._address + "/ws")))
