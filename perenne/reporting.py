"""What an actor or a replica sees of itself reaches the AlertCenter, beside its work: nothing waits for it, and nothing fails without it."""

import asyncio
import logging
from collections.abc import Callable

from perenne import names
from perenne.directory import Directory
from perenne.messages.alerts import Signal

log = logging.getLogger(__name__)

REPORT_S = 15.0
_CALL_S = 2.0


async def report(directory: Directory, source: str, look: Callable[[], tuple[Signal, ...]], every_s: float = REPORT_S) -> None:
    """Until cancelled: tell what `look` says, as `source`, which tells replicas apart. What can't be told is told by the next look."""
    while True:
        await asyncio.sleep(every_s)
        try:
            if signals := look():
                await directory.call(names.ALERT_CENTER, "observe", timeout_s=_CALL_S, signals=signals, source=source)
        except Exception as error:  # of whatever kind: this is beside the work
            log.debug("the AlertCenter was not told: %s: %s", type(error).__name__, error)
