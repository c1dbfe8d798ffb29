"""The owners of an instance on this PC by their lines alone: what a command of its owner asks with, without joining Ray."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from perenne.errors import Unavailable
from perenne.line import Line, Lines

_LOOK_S = 0.01
_FIND_S = 2.0  # how long a line is looked for: an owner that died is back within that


class LineDirectory:
    """A `Directory` of what has a line; nothing else is found. Only for the user that the instance runs as, who is its operator: no
    key, no scopes."""

    def __init__(self, ray_dir: str) -> None:
        self._folder = Path(ray_dir, "lines")
        self._lines: dict[Path, Lines] = {}

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        """One call, once; see `Directory.call`."""
        until = time.monotonic() + min(timeout_s, _FIND_S)
        while (line := await self._line(name, method)) is None:
            if time.monotonic() >= until:
                raise Unavailable(name, 1.0, "it is not running, or not on this PC")
            await asyncio.sleep(_LOOK_S)
        return await line.call(method, timeout_s, kwargs)

    async def _line(self, name: str, method: str) -> Line | None:
        """Each of Ray's nodes has its folder; those of nodes that are gone may still lie there."""
        try:
            folders = sorted(self._folder.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        except OSError:
            return None
        for folder in folders:
            line = await self._lines.setdefault(folder, Lines(folder)).to(name, method)
            if line is not None:
                return line
        return None

    async def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> AsyncIterator[Any]:
        """Unavailable: a line carries no streams."""
        raise Unavailable(name, 1.0, f"{method} is a stream, which no line carries")
        yield
