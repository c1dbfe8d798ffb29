"""The run host's core: what its shell offers, without Ray. Lives in one event loop."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

from actors.runs.answer import GENERATING_MAX, Tools
from actors.runs.attempt import RunAttempt
from actors.runs.desk import Desk
from actors.runs.first_search import make_first_search
from actors.runs.first_words import FirstWords
from actors.runs.followers import Followers, Step
from actors.runs.live import Feeds
from actors.runs.model import Model
from actors.runs.search import Searcher
from perenne import names
from perenne.directory import Directory
from perenne.ids import new_id
from perenne.messages.records import Run, RunEvent
from perenne.messages.search import SearchRequest, SearchResponse
from perenne.mutants import NO_REPLAY, mutant_of
from perenne.reporting import report
from perenne.settings import Settings
from perenne.store import Store


class Host:
    """Search, runs in flight, and their followers. `host` names this incarnation: appends of an earlier one are refused."""

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        self.host = f"{name}:{new_id('host')}"
        store = Store(directory, settings.store.readers)
        self._feeds = Feeds()
        self._followers = Followers(store, self._feeds)
        self._searcher = Searcher(directory, store, settings)
        self._tries = itertools.count(1)
        self.desk = Desk(store, self._attempt_of, replays=mutant_of(settings) != NO_REPLAY)
        self._tools = Tools(
            directory=directory,
            store=store,
            searcher=self._searcher,
            model=Model(directory, self.desk.progressed),
            generating=asyncio.Semaphore(GENERATING_MAX),
            first_words=FirstWords(),
        )

    def _attempt_of(self, run: Run) -> RunAttempt:
        return RunAttempt(self._tools, self._feeds, run, self.host, next(self._tries))

    async def run(self) -> None:
        """Answer open runs until closed."""
        await self.desk.run()

    async def search_first(self) -> None:
        """Search before anybody asks; see `make_first_search`."""
        await make_first_search(self._tools.directory, self._tools.store, self._searcher)

    async def report(self) -> None:
        """Tell the AlertCenter how soon answers begin, until cancelled."""
        await report(self._tools.directory, names.RUN_HOST, self._tools.first_words.signals)

    async def close(self) -> None:
        """Let go of everything; open runs stay open for the next host."""
        await self.desk.close()

    async def search(self, request: SearchRequest) -> SearchResponse:
        """See `Searcher.search`."""
        return await self._searcher.search(request)

    async def start(self, run_id: str) -> None:
        """A nudge: the row is the truth. Busy when too many wait; the run is answered later all the same."""
        self.desk.start(run_id)

    async def stop(self, run_id: str) -> None:
        """Stop working on a run, which its row says too; what is there so far becomes its answer."""
        self.desk.stop(run_id)

    def enter(self) -> None:
        """A follow begins; Busy when there are too many."""
        self._followers.enter()

    def leave(self) -> None:
        """A follow ended."""
        self._followers.leave()

    @property
    def followers(self) -> int:
        """Follows held now."""
        return self._followers.held

    async def step(self, run_id: str, user_id: str, after: int) -> Step:
        """The next events of a follow; see `Followers.step`."""
        return await self._followers.step(run_id, user_id, after)

    async def follow(self, run_id: str, user_id: str, after: int) -> AsyncIterator[RunEvent]:
        """Events after `after`, a heartbeat each second without news, for the length of a lease."""
        until = time.monotonic() + names.FOLLOW_LEASE_S
        self.enter()
        try:
            while time.monotonic() < until:
                step = await self.step(run_id, user_id, after)
                for event in step.events:
                    after = event.seq
                    yield event
                if step.over:
                    return
        finally:
            self.leave()
