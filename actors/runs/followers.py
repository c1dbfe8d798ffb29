"""Following a run at its host: from memory where it can, from the database where it must, a sign of life each second."""

from dataclasses import dataclass

from actors.runs.live import Feeds
from perenne import names
from perenne.errors import Busy, NotFound
from perenne.messages.records import Run, RunEvent
from perenne.store import Store

FOLLOWERS_MAX = 256  # follows held at once; more is Busy
_PAGE = 500  # events read from the database at a time
ENDS = ("done", "error")


@dataclass(frozen=True, slots=True)
class Step:
    """The next events of a follow, or one heartbeat; `over` when nothing more will come."""

    events: tuple[RunEvent, ...]
    over: bool = False


class Followers:
    """Everybody who waits for a run of this host."""

    def __init__(self, store: Store, feeds: Feeds) -> None:
        self._store, self._feeds = store, feeds
        self.held = 0

    def enter(self) -> None:
        """A follow begins; leave() must be called at its end."""
        if self.held >= FOLLOWERS_MAX:
            raise Busy("following runs", 1.0)
        self.held += 1

    def leave(self) -> None:
        """A follow ended."""
        self.held -= 1

    async def step(self, run_id: str, user_id: str, after: int) -> Step:
        """What comes after `after`, within a heartbeat. NotFound for a run that is not the user's."""
        feed = self._feeds.find(run_id)
        if feed is None:
            return await self._stored(run_id, user_id, after)
        if feed.user_id != user_id:
            raise NotFound("run", run_id)
        if after + 1 < feed.first and after < feed.last:
            return ended(await self._read(run_id, user_id, after))
        await feed.wait(after, names.HEARTBEAT_S)
        events = feed.after(after)
        if events:
            return ended(events)
        if feed.closed and self._feeds.find(run_id) is feed:
            return await self._stored(run_id, user_id, after)
        return Step((heartbeat(run_id, after),))

    async def _stored(self, run_id: str, user_id: str, after: int) -> Step:
        run: Run = await self._store.read("run", user_id=user_id, run_id=run_id)
        if run.events > after:
            return ended(await self._read(run_id, user_id, after))
        if run.state in ("done", "failed", "stopped"):
            return Step((), over=True)
        await self._feeds.opened(run_id, names.HEARTBEAT_S)
        return Step((heartbeat(run_id, after),))

    async def _read(self, run_id: str, user_id: str, after: int) -> list[RunEvent]:
        return list(await self._store.read("run_events", user_id=user_id, run_id=run_id, after=after, limit=_PAGE))


def heartbeat(run_id: str, after: int) -> RunEvent:
    """A sign of life; never stored."""
    return RunEvent(run_id=run_id, seq=after, kind="heartbeat", data={})


def ended(events: list[RunEvent]) -> Step:
    """Events up to and with the one that ends the run."""
    for number, event in enumerate(events):
        if event.kind in ENDS:
            return Step(tuple(events[: number + 1]), over=True)
    return Step(tuple(events))
