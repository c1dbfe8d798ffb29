"""The first part of a stop: nothing new is begun, and what is being written may end."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from perenne import names
from perenne.directory import Directory
from perenne.messages.health import Health

_CALL_S = 1.0
_LOOK_S = 0.1
_MOVES_WITHIN_S = 3.0  # an answer that did not move for so long waits for something that a stop does not bring


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How long it took, and how many answers were left for the next start to go on with."""

    took_s: float
    left: int

    def __str__(self) -> str:
        rest = f"; {self.left} unfinished, to be gone on with" if self.left else ""
        return f"drained in {self.took_s:.1f} s{rest}"


async def drain(directory: Directory, within_s: float) -> Drained:
    """From now on new work is refused; answers that move are waited for. An owner that is away holds nothing up."""
    begun = time.monotonic()
    with contextlib.suppress(Exception):
        await directory.call(names.STORE_WRITER, "drain", timeout_s=_CALL_S)
    left = 0
    while True:
        try:
            health: Health = await directory.call(names.RUN_HOST, "health", timeout_s=_CALL_S)
            left = health.queue
            moves = left > 0 and health.progress_age_s < _MOVES_WITHIN_S
        except Exception:
            moves = False
        took_s = time.monotonic() - begun
        if not moves or took_s + _LOOK_S > within_s:
            return Drained(took_s=took_s, left=left)
        await asyncio.sleep(_LOOK_S)
