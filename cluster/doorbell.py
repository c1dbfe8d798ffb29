"""A line to the Supervisor that needs no Ray: a socket in the instance's private folder, one JSON object each way.

The root process asks through it for the pulse and for the end; `perenne status` asks for the state of the tree.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perenne.api import decode
from perenne.errors import DeadlineExceeded, Unavailable
from perenne.messages.health import TreeStatus

log = logging.getLogger(__name__)

_NAME = "Supervisor"
QUEUES = "queues"  # what waits or is in hand at each child, by name
RESTART = "restart "  # and a name: of a child or a group
Answer = Callable[[str], Awaitable[dict[str, Any]]]


def socket_path(ray_dir: str) -> str:
    return str(Path(ray_dir, "supervisor.sock"))


async def open_door(ray_dir: str, answer: Answer) -> asyncio.Server:
    """Listen for questions; `answer` gets the question's name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(120):
                question = json.loads(await reader.readline())
                reply = await answer(str(question["ask"]))
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except Exception as error:  # who asked hears that the line is closed, at once
            log.info("a question was not answered: %s: %s", type(error).__name__, error)
        finally:
            writer.close()

    path = socket_path(ray_dir)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return await asyncio.start_unix_server(serve, path=path)


def ask(ray_dir: str, question: str, timeout_s: float) -> dict[str, Any]:
    """Ask and wait. Raises Unavailable when nobody listens, DeadlineExceeded when the listener hangs."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(socket_path(ray_dir))
            line.sendall(json.dumps({"ask": question}).encode() + b"\n")
            with line.makefile("rb") as reader:
                reply = reader.readline()
    except TimeoutError:
        raise DeadlineExceeded(_NAME, timeout_s) from None
    except OSError as error:
        raise Unavailable(_NAME, 0.5, error.strerror or "no connection") from None
    if not reply:
        raise Unavailable(_NAME, 0.5, "it hung up")
    try:
        return json.loads(reply)
    except ValueError:
        raise Unavailable(_NAME, 0.5, "its answer was cut off") from None


def ask_status(ray_dir: str, timeout_s: float) -> TreeStatus:
    """The state of the tree; raises as `ask` does."""
    return decode(TreeStatus, ask(ray_dir, "status", timeout_s)["status"])


def status_reply(status: TreeStatus) -> dict[str, Any]:
    return {"status": asdict(status)}
