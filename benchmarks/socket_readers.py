"""Many WebSocket readers that cost next to nothing themselves: frames are counted and timed as they come, and only their ids read."""

import asyncio
import base64
import os
import statistics
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PING, PONG, CLOSE, TEXT = 0x89, 0x8A, 0x88, 0x81
_ID = b'"id":"'


@dataclass
class Told:
    """When each message was sent, by its id, and how late each reader had it."""

    sent_at: dict[bytes, float] = field(default_factory=dict[bytes, float])
    late_s: list[float] = field(default_factory=list[float])
    doubled: int = 0

    def p(self, share: float) -> float:
        """In milliseconds."""
        ordered = sorted(self.late_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3 if ordered else float("nan")


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame as a client sends it. The mask is zero: that is allowed, and costs nothing."""
    size = len(payload)
    head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def opening(host: str, key: str | None) -> bytes:
    """The request that opens a WebSocket. No compression is offered."""
    nonce = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET /ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {nonce}"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode()


class Reader(asyncio.Protocol):
    """One WebSocket. `first` is done once the first message is there."""

    def __init__(self, told: Told, request: bytes, says: bytes) -> None:
        self._told, self._request, self._says = told, request, says
        self._rest, self._open = b"", False
        self._seen: set[bytes] = set()
        self.first: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.lost_connection = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_connection = True
        if not self.first.done():
            self.first.set_exception(ConnectionError(f"closed before a message came: {exc}"))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        data = self._rest + data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.first.set_exception(ConnectionError(f"expected 101, got {head[:200]!r}"))
                self._transport.close()
                return
            self._open = True
            self._transport.write(masked(TEXT, self._says))
        at = 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if len(data) < start + size:
                break
            self._frame(data[at], data[start : start + size], now)
            at = start + size
        self._rest = data[at:]

    def _frame(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == PING:
            self._transport.write(masked(PONG, payload))
        elif opcode == CLOSE:
            self.lost_connection = True
        elif opcode == TEXT:
            if not self.first.done():
                self.first.set_result(now)
            at = payload.find(_ID) + len(_ID)
            id = payload[at : payload.find(b'"', at)]
            sent_at = self._told.sent_at.get(id)
            if sent_at is not None:
                self._told.doubled += id in self._seen
                self._seen.add(id)
                self._told.late_s.append(now - sent_at)

    def close(self) -> None:
        self._transport.abort()


def place_of(address: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(address)
    return parts.hostname or "127.0.0.1", parts.port or 80


async def readers(address: str, key: str | None, says: bytes, count: int, told: Told, at_once: int = 32) -> list[Reader]:
    """That many, open, each with its first message."""
    host, port = place_of(address)
    request = opening(f"{host}:{port}", key)
    places = asyncio.Semaphore(at_once)

    async def one() -> Reader:
        async with places:
            made = lambda: Reader(told, request, says)  # noqa: E731
            _, reader = await asyncio.get_running_loop().create_connection(made, host, port)
            async with asyncio.timeout(60):
                await reader.first
            return reader

    return list(await asyncio.gather(*(one() for _ in range(count))))


class Caller:
    """Small requests over a few kept connections."""

    def __init__(self, address: str, key: str | None, connections: int = 4) -> None:
        self._host, self._port = place_of(address)
        self._authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = asyncio.Queue()
        for _ in range(connections):
            self._free.put_nowait(None)

    async def call(self, method: str, path: str, body: bytes = b"{}") -> bytes:
        """The body of the answer; raises unless it was a 2xx."""
        held = await self._free.get()
        try:
            held = held or await asyncio.open_connection(self._host, self._port)
            reader, writer = held
            head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{self._authorization}"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            said = await reader.readuntil(b"\r\n\r\n")
            if not said.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(f"{method} {path}: expected a 2xx, got {said[:300]!r}")
            sizes = [int(line.split(b":")[1]) for line in said.lower().split(b"\r\n") if line.startswith(b"content-length")]
            return await reader.readexactly(sizes[0] if sizes else 0)
        finally:
            self._free.put_nowait(held)


async def first_of_stream(address: str, key: str | None, path: str, sign: bytes = b"data:") -> float:
    """Seconds from the connection to the first event of a stream."""
    host, port = place_of(address)
    authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
    since = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}Accept: text/event-stream\r\n\r\n".encode())
    said = b""
    try:
        async with asyncio.timeout(20):
            while sign not in said:
                piece = await reader.read(65536)
                if not piece:
                    raise ConnectionError(f"the stream ended without an event: {said[:300]!r}")
                said += piece
        return time.perf_counter() - since
    finally:
        writer.close()


async def first_of_socket(address: str, key: str | None, says: bytes) -> float:
    """Seconds from the connection to the first message, the opening and what is said between them."""
    since = time.perf_counter()
    (reader,) = await readers(address, key, says, 1, Told())
    reader.close()
    return reader.first.result() - since


def middle_ms(took_s: list[float]) -> float:
    return statistics.median(took_s) * 1e3
