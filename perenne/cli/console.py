"""Where the command's words go: results to standard output, progress and notes to standard error."""

import asyncio
import dataclasses
import os
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import orjson
import typer
from rich.console import Console

from perenne.api import Perenne
from perenne.client import connect, instance_of
from perenne.errors import Unavailable
from perenne.settings import home_of

T = TypeVar("T")

notes = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
ProjectName = Annotated[str | None, typer.Option("--project", "-p", help="Name or id of a project; all of them without it.")]


def default_address() -> str:
    """PERENNE_ADDRESS, else the running instance of this home, else the port that it would have.

    Raises Unavailable at once when nothing listens there either: a client would wait for it to come back.
    """
    if given := os.environ.get("PERENNE_ADDRESS"):
        return given
    try:
        return str(instance_of(home_of(os.environ))["http"])
    except (Unavailable, KeyError):
        port = os.environ.get("PERENNE_PORT") or "8000"
        address = f"http://127.0.0.1:{port}"
        if not _listens(port):
            raise _away(address) from None
        return address


def _listens(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1.0).close()
    except (OSError, ValueError, OverflowError):  # the last two: it is no port
        return False
    return True


def _away(address: str, retry_after_s: float = 1.0) -> Unavailable:
    return Unavailable(f"Perenne at {address}", retry_after_s, "is it running? start it with 'perenne up'")


@asynccontextmanager
async def connected() -> AsyncGenerator[Perenne]:
    """A client of the instance that the environment names; says in one sentence when it is not running."""
    address = default_address()
    try:
        async with connect(address) as client:
            yield client
    except Unavailable as error:
        if error.what.rstrip("/") != address.rstrip("/"):
            raise
        raise _away(address, error.retry_after_s) from error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    return asyncio.run(work)


def plain(value: Any) -> Any:
    """A dataclass as JSON-like data."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def emit(value: Any) -> None:
    """One JSON object on a line of its own, at once."""
    sys.stdout.buffer.write(orjson.dumps(plain(value), default=str) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str = "", *, end: str = "\n") -> None:
    """A result for people."""
    sys.stdout.write(text + end)
    sys.stdout.flush()
