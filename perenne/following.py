"""Following a run or the feed of changes from outside their hosts: live while the host is there, from the database while it is not."""

import asyncio
from collections.abc import AsyncGenerator

from perenne import names
from perenne.directory import Directory
from perenne.errors import Busy, Conflict, DeadlineExceeded, Unavailable
from perenne.messages.records import Change, Changes, RunEvent
from perenne.store import Store

_READ_AGAIN_S = 0.5  # pause between reads of the database while the host is away
_PAGE = 500  # changes read at a time
ENDS = ("done", "error")  # the kinds of event after which none comes


async def follow_run(
    directory: Directory, store: Store, user_id: str, run_id: str, after: int = 0, *, heartbeats: bool = False
) -> AsyncGenerator[RunEvent]:
    """Every event after `after`, in order, once each, until the run's end. Survives the death of the run's host and of
    readers; raises NotFound for a run that is not the user's. With `heartbeats` it also yields the host's signs of life."""
    last = after
    while True:
        try:
            async for event in directory.stream(
                names.RUN_HOST, "follow", silence_s=names.FOLLOW_SILENCE_S, run_id=run_id, user_id=user_id, after=last
            ):
                if event.kind == "heartbeat":
                    if heartbeats:
                        yield event
                    continue
                if event.seq <= last:
                    continue
                last = event.seq
                yield event
                if event.kind in ENDS:
                    return
        except (Unavailable, DeadlineExceeded):
            stored = await store.read("run_events", user_id=user_id, run_id=run_id, after=last, limit=500)
            for event in stored:
                last = event.seq
                yield event
                if event.kind in ENDS:
                    return
            if heartbeats:
                yield RunEvent(run_id=run_id, seq=last, kind="heartbeat", data={})
            await asyncio.sleep(_READ_AGAIN_S)
            continue
        if await _closed(store, user_id, run_id, last):
            return


async def _closed(store: Store, user_id: str, run_id: str, last: int) -> bool:
    """Whether a follow that ended without an end event may stop: the run is closed and all of it was seen."""
    try:
        run = await store.read("run", user_id=user_id, run_id=run_id)
    except (Unavailable, DeadlineExceeded):
        return False
    return run.state in ("done", "failed", "stopped") and last >= run.events


async def follow_changes(directory: Directory, store: Store, user_id: str, after: int) -> AsyncGenerator[Change]:
    """Every change of the user's things after `after`, in order, once each, for ever. Survives the death of the writer, whose word
    of a new head it follows, and of readers. Conflict when the feed is another one: a restore began it anew."""
    last, origin = after, ""
    while True:
        try:
            async for head in directory.stream(names.STORE_WRITER, "follow_head", silence_s=names.FOLLOW_SILENCE_S, after=last):
                while head > last:
                    page: Changes = await store.read("changes", user_id=user_id, after=last, limit=_PAGE)
                    origin = _same_feed(origin, page, last)
                    for change in page.items:
                        last = change.seq
                        yield change
                    if page.upto <= last and not page.items:
                        break
                    last = page.upto
        except (Unavailable, DeadlineExceeded, Busy):
            await asyncio.sleep(_READ_AGAIN_S)


def place_in(now: Changes, after: int | None, origin: str | None) -> tuple[int, bool]:
    """Where in the feed, as it is now, a reader begins that has read all up to `after` (None: nothing yet), and whether that is
    where it ended: not so when the sequence is another one since."""
    if after is not None and after <= now.head and origin in (None, now.origin):
        return after, True
    return now.head, after is None


def _same_feed(origin: str, page: Changes, last: int) -> str:
    """The page's origin. Conflict when it is not the one before, or the feed ends before what was read of it."""
    if (origin and page.origin != origin) or page.head < last:
        raise Conflict("the feed of changes began anew: read everything again")
    return page.origin
