"""`/ws`: the events of any of the caller's runs over one WebSocket.

From the client: {"type": "subscribe", "run_id", "after"}, {"type": "unsubscribe", "run_id"}, {"type": "ping"}.
From here: {"type": "event", "event"}, {"type": "pong"}, {"type": "error", "error", "run_id"}, {"type": "closing", "resume": {run: seq}}.
Once the key ends the last is an error without a run, and the close has code 1008."""

import asyncio
import contextlib
import json
import logging
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from perenne.errors import InvalidRequest, PerenneError
from perenne.following import ENDS, follow_run
from perenne.messages.records import RunEvent
from serve.answers import json_bytes
from serve.caller import Caller
from serve.edge import Edge
from serve.errors import described
from serve.runs import HIDDEN

log = logging.getLogger(__name__)

QUEUE_MAX = 256  # messages that wait for a slow reader; then its follows pause
SUBSCRIPTIONS_MAX = 32
SEND_WITHIN_S = 20.0  # a reader that takes nothing for so long is cut off
MESSAGE_CHARS_MAX = 16 << 10
RUN_ID_CHARS_MAX = 300  # of what is said back to whoever sent it


class Socket:
    """One connection."""

    def __init__(self, socket: WebSocket, edge: Edge, caller: Caller) -> None:
        self._socket, self._edge, self._caller = socket, edge, caller
        self._outbox: asyncio.Queue[tuple[bytes, RunEvent | None]] = asyncio.Queue(QUEUE_MAX)
        self._follows: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, int] = {}  # by run: the last event that went out, which is where a reader resumes

    async def serve(self) -> None:
        """Until the client leaves, is too slow, its key ends, or the replica closes."""
        ended = asyncio.create_task(self._edge.keyring.end_of(self._caller))
        parts = [ended, *(asyncio.create_task(part) for part in (self._read(), self._write(), self._edge.closing.wait()))]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                error = ended.result()
                await self._part(1008, str(error), type="error", error=described(error), run_id=None)
            elif self._edge.closing.is_set():
                await self._part(1012, "this server is restarting", type="closing", resume=self._seen)
        finally:
            for task in (*parts, *self._follows.values()):
                task.cancel()
            await asyncio.gather(*parts, *self._follows.values(), return_exceptions=True)

    async def _part(self, code: int, why: str, **last: Any) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._socket.send_text(json_bytes(last).decode())
                await self._socket.close(code, why)

    async def _write(self) -> None:
        while True:
            message, event = await self._outbox.get()
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    await self._socket.send_text(message.decode())
                if event is not None and event.run_id in self._seen:
                    self._seen[event.run_id] = event.seq
                    if event.kind in ENDS:
                        del self._seen[event.run_id]
            except TimeoutError:
                with contextlib.suppress(RuntimeError, OSError):
                    await self._socket.close(1013, "too slow")
                return
            except (RuntimeError, WebSocketDisconnect, OSError):
                return

    async def _tell(self, **message: Any) -> None:
        await self._outbox.put((json_bytes(message), message.get("event")))

    async def _read(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                received = await self._socket.receive()
                if received["type"] != "websocket.receive":
                    return
                message: dict[str, Any] = {}
                try:
                    message = _message(received.get("text") or "")
                    await self._take(message)
                except PerenneError as error:
                    await self._tell(type="error", error=described(error), run_id=_named(message.get("run_id")))

    async def _take(self, message: dict[str, Any]) -> None:
        kind, run_id = message.get("type"), message.get("run_id")
        if kind == "ping":
            await self._tell(type="pong")
            return
        if kind not in ("subscribe", "unsubscribe") or not isinstance(run_id, str):
            raise InvalidRequest("expected subscribe or unsubscribe with a run_id, or ping", "type")
        if kind == "unsubscribe":
            self._drop(run_id)
            return
        self._edge.pace.count(self._caller.key.id)
        after = message.get("after", 0)
        if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 1 << 53:
            raise InvalidRequest("after: expected a sequence number", "after")
        self._follows = {id: task for id, task in self._follows.items() if not task.done()}
        if len(self._follows) >= SUBSCRIPTIONS_MAX and run_id not in self._follows:
            raise InvalidRequest(f"expected {SUBSCRIPTIONS_MAX} subscriptions at most", "run_id")
        self._drop(run_id)
        self._seen[run_id] = after
        self._follows[run_id] = asyncio.create_task(self._follow(run_id, after))

    def _drop(self, run_id: str) -> None:
        held = self._follows.pop(run_id, None)
        if held is not None:
            held.cancel()
        self._seen.pop(run_id, None)

    async def _follow(self, run_id: str, after: int) -> None:
        try:
            await self._caller.run(self._edge.store, run_id)
            async for event in follow_run(self._edge.directory, self._edge.store, self._caller.user_id, run_id, after):
                if event.kind not in HIDDEN:
                    await self._tell(type="event", event=event)
        except Exception as error:
            if not isinstance(error, PerenneError):
                log.exception("a run could not be followed")
            self._seen.pop(run_id, None)
            await self._tell(type="error", error=described(error), run_id=run_id)


def _named(run_id: Any) -> str | None:
    return run_id if isinstance(run_id, str) and len(run_id) <= RUN_ID_CHARS_MAX else None


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text) if len(text) <= MESSAGE_CHARS_MAX else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InvalidRequest(f"expected a JSON object of {MESSAGE_CHARS_MAX} characters at most")
    return message


async def run_socket(socket: WebSocket) -> None:
    """The route."""
    await socket.accept()
    await Socket(socket, socket.app.state.edge, socket.scope["caller"]).serve()
