"""A quick way to an owner on the same PC: its own socket file, beside Ray's calls (docs/adr/0017).

Ray still places, finds, restarts and watches every actor. A call of one costs a few milliseconds of processor time on both
sides together, a message over a socket file a tenth of that. Where there is no such file (another PC, an owner that just
died), the caller goes through Ray.

The files lie in a folder that is closed to other users, and each side asks the kernel who the other is: what comes is pickled."""

import asyncio
import logging
import os
import pickle
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from perenne import correlation
from perenne.errors import Busy, DeadlineExceeded, Unavailable

log = logging.getLogger(__name__)

OPEN_MAX = 1_024  # calls that one owner has open at once, of all callers; more are Busy
FRAME_BYTES_MAX = 1 << 30  # one message; what is longer is no message of ours
HELLO = 0  # the number of what an owner says first: which methods it answers here
_ABSENT_S = 1.0  # how long a line that was not there is not looked for
_HEAD = struct.Struct("!QQ")  # how many bytes follow, the number of the call


def line_path(folder: Path, name: str) -> Path:
    """The socket file of an owner."""
    return folder / f"{name}.sock"


def framed(number: int, said: Any) -> bytes:
    """A message: the number of its call, and what is said."""
    body = pickle.dumps(said, protocol=5)
    return _HEAD.pack(len(body), number) + body


def of_this_user(transport: asyncio.BaseTransport) -> bool:
    """Whether the other side runs as this user, as far as the kernel can say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    held: Any = transport.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", held.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid == os.getuid()


class Frames:
    """Puts messages together from the pieces that they come in."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Any]]:
        """What is whole by now: numbers and what was said. ValueError when it is no message of ours."""
        rest = self._rest
        rest += data
        while len(rest) >= _HEAD.size:
            size, number = _HEAD.unpack_from(rest)
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"expected a message of at most {FRAME_BYTES_MAX} bytes, got {size}")
            end = _HEAD.size + size
            if len(rest) < end:
                return
            body = bytes(rest[_HEAD.size : end])
            del rest[:end]
            yield number, pickle.loads(body)  # noqa: S301 (of this user, from a folder that is closed to others)


class Line(asyncio.Protocol):
    """The caller's end of one connection."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._frames, self._count = Frames(), 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._transport: asyncio.Transport | None = None
        self.methods: frozenset[str] = frozenset()  # none until the owner said which
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not of_this_user(transport):
            self.close()

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            for number, said in self._frames.feed(data):
                self._hear(number, said)
        except Exception:
            log.exception("%s said what is no answer", self._name)
            self.close()

    def _hear(self, number: int, said: Any) -> None:
        if number == HELLO:
            self.methods = said
            return
        answered = self._waiting.pop(number, None)
        if answered is None or answered.done():  # its caller gave up
            return
        good, value = said
        if good:
            answered.set_result(value)
        else:
            answered.set_exception(value)

    async def call(self, method: str, timeout_s: float, kwargs: dict[str, Any]) -> Any:
        """What the owner answers or raises. Unavailable when its process ended meanwhile: a write may have happened."""
        if self.closed or self._transport is None:
            raise Unavailable(self._name, 0.2, "its process ended")
        if len(self._waiting) >= OPEN_MAX:
            raise Busy(self._name, 0.2)
        self._count += 1
        number = self._count
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._transport.write(framed(number, (method, kwargs, correlation.ids())))
        try:
            async with asyncio.timeout(timeout_s):
                return await answered
        except TimeoutError:
            raise DeadlineExceeded(self._name, timeout_s) from None
        finally:
            self._waiting.pop(number, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            if not answered.done():
                answered.set_exception(Unavailable(self._name, 0.2, "its process ended"))

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class Lines:
    """The lines that a process holds, one an owner and event loop, made when they are first needed and again after a death."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]] = WeakKeyDictionary()
        self._absent: dict[str, float] = {}

    async def to(self, name: str, method: str) -> Line | None:
        """The line on which the owner answers this method; None when there is none, or none yet."""
        loop = asyncio.get_running_loop()
        held = self._open.setdefault(loop, {})
        line = held.get(name)
        if line is None or line.closed:
            if self._absent.get(name, 0.0) > time.monotonic():
                return None
            self._absent[name] = time.monotonic() + _ABSENT_S  # also for those who come while it is being made
            try:
                _, line = await loop.create_unix_connection(lambda: Line(name), str(line_path(self.folder, name)))
            except OSError:
                return None
            held[name] = line
            self._absent.pop(name, None)
        return line if method in line.methods else None
