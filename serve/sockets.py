"""`/ws`: the events of any of the caller's runs, and every change of what is the caller's, over one WebSocket. docs/websocket.md says
what is said on it.

Once the key ends the last is an error without a run, and the close has code 1008; 1012 is a restart, 1013 a reader that is too slow."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from perenne.errors import InvalidRequest, PerenneError, RateLimited
from perenne.following import place_in
from perenne.messages.records import Changes, Run
from serve.answers import json_bytes
from serve.caller import Caller
from serve.channels import Channel, Subscription
from serve.door import refuse_socket
from serve.edge import Edge
from serve.errors import described
from serve.outbox import Item, Outbox

log = logging.getLogger(__name__)

SUBSCRIPTIONS_MAX = 32  # runs that one socket follows
SEND_WITHIN_S = 20.0  # a reader that takes nothing for so long is too slow, however little waits for it
CLOSE_WITHIN_S = 20.0  # how long one that is too slow may take until it is told so; then the connection is dropped
MESSAGE_CHARS_MAX = 16 << 10
RUN_ID_CHARS_MAX = 300  # of what is said back to whoever sent it
_CHANGES = ""  # the place of changes among the subscriptions: no run has this id
_SEQ_END = 1 << 53


class Socket:
    """One connection."""

    def __init__(self, socket: WebSocket, edge: Edge, caller: Caller) -> None:
        self._socket, self._edge, self._caller = socket, edge, caller
        self._outbox = Outbox(self._send, edge.settings.edge.socket_queue, edge.settings.edge.socket_queue_bytes)
        self._subscriptions: dict[str, Subscription | None] = {}  # None: it is being looked up
        self._tasks: dict[str, asyncio.Task[None]] = {}  # that look up or catch up
        self._slow: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Until the client leaves, is too slow, its key ends, or the replica closes."""
        ended = asyncio.create_task(self._edge.keyring.end_of(self._caller))
        read, look = asyncio.create_task(self._read()), asyncio.create_task(self._look())
        parts = [ended, read, look, asyncio.create_task(self._edge.closing.wait())]
        try:
            await asyncio.wait([*parts, self._slow, self._outbox.over], return_when=asyncio.FIRST_COMPLETED)
            await _ended(read)
            await self._outbox.close()  # what is said last is last, and what went out is known
            if ended.done():
                error = ended.result()
                await self._part(1008, str(error), 1.0, type="error", error=described(error), run_id=None)
            elif self._edge.closing.is_set():
                await self._part(1012, "this server is restarting", 1.0, type="closing", **self._resume())
            elif self._slow.done():
                self._drop_all()
                await self._part(1013, "too slow: come again after the last number that you have seen", CLOSE_WITHIN_S)
        finally:
            self._drop_all()
            await self._outbox.close()
            await _ended(*parts, *self._tasks.values())

    def _resume(self) -> dict[str, Any]:
        """What went out last of each run that is followed, and of the changes."""
        sent = {name: held.sent for name, held in self._subscriptions.items() if held is not None}
        changes = sent.pop(_CHANGES, None)
        return {"resume": sent} if changes is None else {"resume": sent, "changes": changes}

    async def _part(self, code: int, why: str, within_s: float, **last: Any) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError, TimeoutError):
            async with asyncio.timeout(within_s):
                if last:
                    await self._socket.send_text(json_bytes(last).decode())
                await self._socket.close(code, why)

    def _too_slow(self) -> None:
        if not self._slow.done():
            self._slow.set_result(None)

    async def _send(self, item: Item) -> None:
        await self._socket.send_text(item.text or "")

    async def _look(self) -> None:
        """Until a message has not gone out for too long. A timeout of each message would cost as much as sending it."""
        while (since := self._outbox.sending_since) is None or time.monotonic() - since < SEND_WITHIN_S:
            await asyncio.sleep(SEND_WITHIN_S / 4)
        self._too_slow()

    async def _tell(self, **message: Any) -> None:
        await self._outbox.put(Item(json_bytes(message).decode()))

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
        elif kind == "watch":
            self._caller.need_all_projects()  # what is deleted is in no project any more: nobody could say whether it was in that one
            after, origin = _number(message.get("after")), message.get("origin")
            if origin is not None and not isinstance(origin, str):
                raise InvalidRequest("origin: expected the text that came with `watching`", "origin")
            await self._count()
            self._begin(_CHANGES, self._watch(after, origin))
        elif kind == "unwatch":
            self._drop(_CHANGES)
        elif kind in ("subscribe", "unsubscribe") and isinstance(run_id, str) and run_id:
            if kind == "unsubscribe":
                self._drop(run_id)
            else:
                await self._count()
                self._begin(run_id, self._follow(run_id, _number(message.get("after", 0)) or 0))
        else:
            raise InvalidRequest("expected subscribe or unsubscribe with a run_id, watch, unwatch or ping", "type")

    async def _count(self) -> None:
        """A subscription counts as a request."""
        await self._edge.pace.count(self._caller.key.id)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin a subscription, in place of the one of that name."""
        if name != _CHANGES and name not in self._subscriptions and self._runs >= SUBSCRIPTIONS_MAX:
            work.close()
            raise InvalidRequest(f"expected {SUBSCRIPTIONS_MAX} subscriptions at most", "run_id")
        self._drop(name)
        self._subscriptions[name] = None
        self._tasks[name] = asyncio.create_task(self._work(name, work))

    @property
    def _runs(self) -> int:
        return len(self._subscriptions) - (_CHANGES in self._subscriptions)

    def _drop(self, name: str) -> None:
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        if (held := self._subscriptions.pop(name, None)) is not None:
            held.leave()

    def _drop_all(self) -> None:
        for name in tuple(self._subscriptions):
            self._drop(name)

    async def _work(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Look up and catch up; what goes wrong is told."""
        try:
            await work
        except Exception as error:
            self._over(name, error)
        finally:
            if self._tasks.get(name) is asyncio.current_task():
                del self._tasks[name]

    async def _follow(self, run_id: str, after: int) -> None:
        run: Run = await self._caller.run(self._edge.store, run_id)
        channel = self._edge.channels.of_run(self._caller.user_id, run_id)
        await self._subscribe(run_id, channel, after).pursue(run.events > after)

    async def _watch(self, after: int | None, origin: str | None) -> None:
        now: Changes = await self._edge.store.read("changes", user_id=self._caller.user_id)
        start, complete = place_in(now, after, origin)
        await self._tell(type="watching", after=start, origin=now.origin, complete=complete)
        channel = self._edge.channels.of_changes(self._caller.user_id)
        await self._subscribe(_CHANGES, channel, start).pursue(start < now.head)

    def _subscribe(self, name: str, channel: Channel, after: int) -> Subscription:
        def over(error: Exception | None) -> None:
            if self._subscriptions.get(name) is made:
                self._over(name, error)

        behind_s = self._edge.settings.edge.socket_behind_s
        made = Subscription(channel, self._outbox, after, behind_s=behind_s, on_slow=self._too_slow, on_over=over)
        self._subscriptions[name] = made
        return made

    def _over(self, name: str, error: Exception | None) -> None:
        """A subscription has come to its end; what was put into the outbox goes out all the same."""
        if error is not None and not isinstance(error, PerenneError):
            log.error("a subscription failed", exc_info=error)
        if (held := self._subscriptions.pop(name, None)) is not None:
            held.leave()
        if error is None:
            return
        told = {"type": "error", "error": described(error), "run_id": name or None}
        if not self._outbox.offer(Item(json_bytes(told).decode())):
            self._too_slow()


async def _ended(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _named(run_id: Any) -> str | None:
    return run_id if isinstance(run_id, str) and len(run_id) <= RUN_ID_CHARS_MAX else None


def _number(after: Any) -> int | None:
    if after is None:
        return None
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < _SEQ_END:
        raise InvalidRequest("after: expected a sequence number", "after")
    return after


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
    edge: Edge = socket.app.state.edge
    caller: Caller = socket.scope["caller"]
    most = edge.settings.edge.sockets_per_key
    if edge.sockets[caller.key.id] >= most:
        error = RateLimited(f"this key holds {most} WebSockets, the most it may; it", 5.0)
        await refuse_socket(error, socket.scope, socket.receive, socket.send)
        return
    edge.sockets[caller.key.id] += 1
    try:
        await socket.accept()
        await Socket(socket, edge, caller).serve()
    finally:
        edge.sockets[caller.key.id] -= 1
        if not edge.sockets[caller.key.id]:
            del edge.sockets[caller.key.id]
