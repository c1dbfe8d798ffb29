"""Where the command's words go: results to standard output, progress and notes to standard error."""

import dataclasses
import functools
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from perenne.cli.completing import project_names
from perenne.cli.troubles import tell
from perenne.errors import PerenneError, Unavailable

if TYPE_CHECKING:  # what talks to an instance is loaded when one is talked to: a press of Tab does without
    from rich.console import Console

    from perenne.api import Perenne

T = TypeVar("T")

_LISTENS_WITHIN_S = 3.0


@functools.cache
def terminal() -> "Console":
    """Standard error, by rich; loaded with the first note."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


class _Notes:
    def print(self, *words: Any, **style: Any) -> None:
        terminal().print(*words, **style)


notes = _Notes()


def attempt(work: Callable[[], T]) -> T:
    """What the work gives; an error of ours is told, and ends the command as `perenne.cli.troubles` has it."""
    try:
        return work()
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None


Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
ProjectName = Annotated[
    str | None,
    typer.Option("--project", "-p", help="Name or id of a project; all of them without it.", autocompletion=project_names),
]


class Away(Unavailable):
    """Nothing answers at the address that the command was to ask."""

    code = "not_running"

    def __str__(self) -> str:
        return f"expected Perenne at {self.what}, and nothing answers there{self.reason}"


def default_address() -> str:
    """PERENNE_ADDRESS, else the running instance of this home, else the port that it would have.

    Raises Away at once when nothing listens there: a client would wait for it to come back.
    """
    from perenne.client import instance_of
    from perenne.settings import home_of

    if given := os.environ.get("PERENNE_ADDRESS"):
        address = given.rstrip("/")
    else:
        try:
            known = instance_of(home_of(os.environ))
            address = str(known["http"])
            if _runs(known.get("root_pid")):
                return address  # it may be about to answer again: the client waits for it
        except (Unavailable, KeyError):
            address = f"http://127.0.0.1:{os.environ.get('PERENNE_PORT') or '8000'}"
    if not _listens(address):
        raise Away(address, 1.0)
    return address


def _runs(pid: Any) -> bool:
    """Whether the root that wrote down its process id is there. After a stop it is 0, after a death that of nobody."""
    try:
        if pid:
            os.kill(int(pid), 0)
    except PermissionError:
        return True  # another user's
    except (OSError, TypeError, ValueError):
        return False
    return bool(pid)


def _listens(address: str) -> bool:
    """Whether anything does. True where a look from here can't tell: the address is no address, or a proxy stands between."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or os.environ.get(f"{parts.scheme}_proxy") or os.environ.get("ALL_PROXY"):
        return True
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout=_LISTENS_WITHIN_S).close()
    except (OSError, ValueError, OverflowError):  # the last two: it is no port
        return False
    return True


@asynccontextmanager
async def connected() -> "AsyncGenerator[Perenne]":
    """A client of the instance that the environment names; says in one sentence when it is not running."""
    from perenne.client import connect

    address = default_address()
    try:
        async with connect(address) as client:
            yield client
    except Unavailable as error:
        if error.what.rstrip("/") != address.rstrip("/"):
            raise
        raise Away(address, error.retry_after_s, f" ({error.reason})" if error.reason else "") from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    import asyncio

    return asyncio.run(work)


def plain(value: Any) -> Any:
    """A dataclass as JSON-like data."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def emit(value: Any) -> None:
    """One JSON object on a line of its own, at once."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(plain(value), default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str = "", *, end: str = "\n") -> None:
    """A result for people."""
    sys.stdout.write(text + end)
    sys.stdout.flush()
