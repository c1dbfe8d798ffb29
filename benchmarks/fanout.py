"""A message to a thousand WebSockets, ten times a second, through a running instance: commit, feed, edge, HAProxy. And how long the
first event of a run takes over server-sent events and over a WebSocket.

Beside it, in the same run, what one would write by hand: Starlette on bare uvicorn that sends each message, from memory, to every socket
it holds. `python -m benchmarks.fanout` starts an instance of its own with the tiny profile. The readers run in this process."""

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perenne
from benchmarks.report import Figure, publish
from benchmarks.running import free_port, instance
from benchmarks.served import served
from benchmarks.socket_readers import Caller, Told, first_of_socket, first_of_stream, middle_ms, readers
from perenne.api import Perenne

SOCKETS, A_SECOND = 1_000, 10
WARM_S = 1.0  # of messages that are counted, and not timed
GRACE_S = 10.0  # for the last message to arrive everywhere
FIRSTS = 60  # samples of a first event, each way
SETTLE_S = 10.0  # after a start, before anything is measured
_CONFIG = "edge:\n  requests_per_minute: 10000000\n  sockets_max: {most}\n  sockets_per_key: {most}\n"


@dataclass(frozen=True)
class Side:
    """An address, what a socket says to be told, and how one message is sent, by its id."""

    address: str
    key: str | None
    watch: bytes
    send: Callable[[Caller, str], Coroutine[Any, Any, bytes]]
    ids: tuple[str, ...]  # that are sent by turns


async def measure(side: Side, sockets: int, seconds: float) -> tuple[Told, int]:
    """Who had what how late, and how many of the messages never came."""
    told, warming = Told(), Told()
    held = await readers(side.address, side.key, side.watch, sockets, told)
    caller = Caller(side.address, side.key)
    count, warm = int((seconds + WARM_S) * A_SECOND), int(WARM_S * A_SECOND)
    if len(side.ids) < count:
        raise ValueError(f"expected {count} ids, got {len(side.ids)}")
    tasks: list[asyncio.Task[bytes]] = []
    begun = time.perf_counter()
    for number, id in enumerate(side.ids[:count]):
        due = begun + number / A_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if number == warm:
            warming.late_s, told.late_s = told.late_s, []
        told.sent_at[id.encode()] = due  # when it was to go: a late sender hides nothing
        tasks.append(asyncio.create_task(side.send(caller, id)))
    await asyncio.gather(*tasks)
    until = time.perf_counter() + GRACE_S
    while len(told.late_s) + len(warming.late_s) < count * sockets and time.perf_counter() < until:
        await asyncio.sleep(0.1)
    lost = count * sockets - len(told.late_s) - len(warming.late_s) + told.doubled
    for reader in held:
        reader.close()
    return told, lost


async def firsts(side: Side, path: str, says: bytes) -> tuple[float, float]:
    """The middle time to a first event, in milliseconds: of a stream, of a socket."""
    streams = [await first_of_stream(side.address, side.key, path) for _ in range(FIRSTS)]
    return middle_ms(streams), middle_ms([await first_of_socket(side.address, side.key, says) for _ in range(FIRSTS)])


# Ours


async def our_side(address: str, key: str, count: int) -> Side:
    """Conversations, whose new names are the messages."""
    caller = Caller(address, key)
    made = [json.loads(await caller.call("POST", "/api/conversations", b'{"title": "x"}'))["id"] for _ in range(count)]

    def rename(caller: Caller, id: str) -> Coroutine[Any, Any, bytes]:
        return caller.call("PATCH", f"/api/conversations/{id}", b'{"title": "y"}')

    return Side(address, key, b'{"type": "watch"}', rename, tuple(made))


async def ended_run(client: Perenne) -> str:
    """A run that is over, whose events are on disk."""
    posted = await client.post("When was the lighthouse built?", project="default")
    await client.stop(posted.run.id)
    async for _ in client.events(posted.run.id):
        pass
    return posted.run.id


@contextmanager
def own(sockets: int) -> Iterator[tuple[str, Path]]:
    """Address and home of an instance of our own."""
    with tempfile.TemporaryDirectory(prefix="ph-") as scratch:
        home, port = Path(scratch, "home"), free_port()
        home.mkdir()
        (home / "config.yaml").write_text(_CONFIG.format(most=sockets + 50))
        with instance(home, port, PERENNE_PROFILE="tiny"):
            time.sleep(SETTLE_S)
            yield f"http://127.0.0.1:{port}", home


# Theirs


def _serve_by_hand(port: int) -> None:
    """In a process of its own: what an application without us would hold."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    held: set[WebSocket] = set()

    async def connected(socket: WebSocket) -> None:
        await socket.accept()
        held.add(socket)
        try:
            while True:
                await socket.receive_text()
                await socket.send_text('{"type":"watching"}')
        except WebSocketDisconnect:
            held.discard(socket)

    async def say(request: Request) -> Response:
        change = {"seq": 12345, "entity": "conversation", "id": request.path_params["id"], "op": "update"}
        text = json.dumps({"type": "change", "change": {**change, "conversation_id": None}})
        for each in tuple(held):
            await each.send_text(text.replace(": ", ":"))
        return Response(status_code=204)

    async def events(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'id: 1\nevent: status\ndata: {"kind":"status"}\n\n'

        return StreamingResponse(pieces(), media_type="text/event-stream")

    routes = [WebSocketRoute("/ws", connected), Route("/say/{id}", say, methods=["PATCH"]), Route("/events", events)]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="error", access_log=False)


def their_side(address: str, count: int) -> Side:
    def say(caller: Caller, id: str) -> Coroutine[Any, Any, bytes]:
        return caller.call("PATCH", f"/say/{id}")

    return Side(address, None, b'{"type": "watch"}', say, tuple(f"cnv_{number:032x}" for number in range(count)))


async def figures_of(address: str, home: Path, theirs: str, sockets: int, seconds: float) -> list[Figure]:
    key = (home / "key").read_text().strip()
    count = int((seconds + WARM_S) * A_SECOND)
    ours, others = await our_side(address, key, count), their_side(theirs, count)
    async with perenne.connect(address, key=key) as client:
        run_id = await ended_run(client)
    subscribe = json.dumps({"type": "subscribe", "run_id": run_id}).encode()
    our_first = await firsts(ours, f"/api/runs/{run_id}/events", subscribe)
    their_first = await firsts(others, "/events", others.watch)
    (told, lost), (their_told, their_lost) = await measure(ours, sockets, seconds), await measure(others, sockets, seconds)
    named = f"{sockets:,} sockets × {A_SECOND} messages a second"
    by = "theirs: Starlette on bare uvicorn, from memory"
    return [
        Figure("server-sent events, first event, p50", our_first[0], their_first[0], "ms", note=by),
        Figure("WebSocket, opened to first event, p50", our_first[1], their_first[1], "ms"),
        Figure(f"{named}, p50", told.p(0.5), their_told.p(0.5), "ms", note="ours: from the write that is told of"),
        Figure(f"{named}, p99", told.p(0.99), their_told.p(0.99), "ms", goal="ours <= 100"),
        Figure(f"{named}, lost or doubled", float(lost), float(their_lost), "messages", goal="ours <= 0"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=SOCKETS)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * given.sockets + 256  # HAProxy holds two a socket
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard))
    with own(given.sockets) as (address, home), served(_serve_by_hand) as theirs:
        figures = asyncio.run(figures_of(address, home, theirs, given.sockets, given.seconds))
    return 0 if publish("fanout", figures, profile="tiny", sockets=given.sockets, seconds=given.seconds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
