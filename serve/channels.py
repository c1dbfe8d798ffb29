"""What many sockets of a replica follow at once: one subscription to its source, each message encoded once, for all of them."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from perenne.directory import Directory
from perenne.errors import PerenneError
from perenne.following import ENDS, follow_changes, follow_run
from perenne.messages.records import Change, RunEvent
from perenne.store import Store
from serve.answers import json_bytes
from serve.outbox import Item, Outbox
from serve.views import HIDDEN

log = logging.getLogger(__name__)

HELD_MAX = 512  # of the newest messages, for whoever comes or catches up a moment late; older ones are in the database
PAGE = 500  # read from the database at a time
IN_A_ROW = 128  # messages written in a row, to one socket or to many, before anything else has its turn
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds after a number: in order, all up to `upto`; `more` lies beyond."""

    items: list[Item]
    upto: int
    more: bool


class Source(Protocol):
    """Where a channel's messages come from."""

    def live(self, after: int) -> AsyncGenerator[Item]:
        """Every message after `after`, in order, once each, as they come."""
        ...

    async def stored(self, after: int) -> Stored:
        """A page of what came after `after`."""
        ...


class Member(Protocol):
    """Who listens."""

    def offer(self, item: Item) -> None:
        """The next message."""
        ...

    def over(self, error: Exception | None) -> None:
        """No message comes any more; why, if that is a fault."""
        ...


class Channel:
    """One source. It is followed from the first member that joins until the last one leaves."""

    def __init__(self, source: Source, on_empty: Callable[["Channel"], None]) -> None:
        self.source, self._on_empty = source, on_empty
        self._held: deque[Item] = deque()
        self._floor = self._top = 0  # what lies above the floor is held; the top is the last that was handed out
        self._members: dict[Member, None] = {}
        self._users: set[object] = set()
        self._following: asyncio.Task[None] | None = None
        self._in_a_row = 0

    @property
    def running(self) -> bool:
        return self._following is not None

    def enter(self, user: object) -> None:
        """Somebody is interested: the channel stays."""
        self._users.add(user)

    def pause(self, member: Member) -> None:
        """Give the member nothing until it joins again."""
        self._members.pop(member, None)

    def leave(self, user: Member) -> None:
        """And is no more. Harmless twice."""
        self._members.pop(user, None)
        self._users.discard(user)
        if not self._users:
            self._stop()
            self._on_empty(self)

    def since(self, after: int) -> list[Item] | None:
        """What was handed out after `after`; None when that is not held here any more, or nothing is followed yet."""
        if not self.running or after < self._floor:
            return None
        return [] if after >= self._top else [item for item in self._held if item.seq > after]

    def join(self, member: Member, after: int) -> None:
        """From now on the member is given each message, which may be one that it has: they are numbered. Nothing between `after`
        and what is handed out next may be missing to it: see `since`."""
        self._members[member] = None
        if self._following is None:
            self._held.clear()
            self._floor = self._top = after
            self._following = asyncio.create_task(self._follow(), context=Context())  # for all who join: no request's own

    async def _follow(self) -> None:
        error: Exception | None = None
        try:
            async with aclosing(self.source.live(self._top)) as live:
                async for item in live:
                    await self._hand_out(item)
        except Exception as failure:
            if not isinstance(failure, PerenneError):
                log.exception("a channel's source failed")
            error = failure
        self._following = None
        members, self._members = self._members, {}
        for member in members:
            member.over(error)

    async def _hand_out(self, item: Item) -> None:
        self._top = item.seq
        self._held.append(item)
        if len(self._held) > HELD_MAX:
            self._floor = self._held.popleft().seq
        for member in tuple(self._members):
            if member in self._members:  # it may have left since
                member.offer(item)
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self._in_a_row = 0
                await asyncio.sleep(0)

    def _stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()


class Subscription:
    """One socket's place in a channel: it reads what is stored at its reader's own pace; then it is given what comes. When there
    is no room for that, it reads on by itself as before; a reader that has not caught up within `behind_s` is too slow."""

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        after: int,
        *,
        behind_s: float,
        on_slow: Callable[[], None],
        on_over: Callable[[Exception | None], None],
    ) -> None:
        self._channel, self._outbox, self._on_slow, self._on_over = channel, outbox, on_slow, on_over
        self._behind_s = behind_s
        self._catching_up: asyncio.Task[None] | None = None
        self._last = after  # in the outbox, or before
        self.sent = after  # where its reader resumes
        self.ended = False
        channel.enter(self)

    async def pursue(self, behind: bool) -> None:
        """Give what is stored, if anything is, then join. Returns once it has joined, or its end was given."""
        channel = self._channel
        while not self.ended:
            items = channel.since(self._last)
            if items is None and (behind or channel.running):
                before = self._last
                stored = await channel.source.stored(before)
                await self._put(stored.items)
                self._last, behind = max(self._last, stored.upto), stored.more
                if self._last == before and channel.running:
                    await asyncio.sleep(_LOOK_AGAIN_S)
            elif items:
                await self._put(items)
            else:
                channel.join(self, self._last)
                return

    async def _put(self, items: list[Item]) -> None:
        for item in items:
            if item.text is not None:
                await self._outbox.put(item, self)
            self._last = item.seq
            if item.ends:
                self.leave()
                return

    def offer(self, item: Item) -> None:
        if item.seq <= self._last or self.ended:
            return
        if item.text is not None and not self._outbox.offer(item, self):
            self._channel.pause(self)
            self._catching_up = asyncio.create_task(self._catch_up())
            return
        self._last = item.seq
        if item.ends:
            self.leave()

    async def _catch_up(self) -> None:
        limit = asyncio.timeout(self._behind_s)
        try:
            async with limit:
                await self.pursue(behind=True)
        except Exception as error:
            self.leave()
            if limit.expired():
                self._on_slow()
            else:
                self._on_over(error)

    def over(self, error: Exception | None) -> None:
        self.leave()
        self._on_over(error)

    def went_out(self, item: Item) -> None:
        self.sent = item.seq
        if item.ends:
            self._on_over(None)

    def leave(self) -> None:
        """Nothing more is put into the outbox. Harmless twice."""
        self.ended = True
        self._channel.leave(self)
        if self._catching_up is not None and self._catching_up is not asyncio.current_task():
            self._catching_up.cancel()


class Channels:
    """All channels of a replica, by what they follow."""

    def __init__(self, directory: Directory, store: Store) -> None:
        self._directory, self._store = directory, store
        self._open: dict[tuple[str, str], Channel] = {}

    def __len__(self) -> int:
        return len(self._open)

    def of_run(self, user_id: str, run_id: str) -> Channel:
        """The events of a run, which must be the user's."""
        return self._channel(("run", run_id), RunSource(self._directory, self._store, user_id, run_id))

    def of_changes(self, user_id: str) -> Channel:
        """The changes of all that is the user's."""
        return self._channel(("changes", user_id), ChangeSource(self._directory, self._store, user_id))

    def _channel(self, key: tuple[str, str], source: Source) -> Channel:
        def empty(channel: Channel) -> None:
            if self._open.get(key) is channel:
                del self._open[key]

        return self._open.setdefault(key, Channel(source, empty))


class RunSource:
    """A run's events."""

    def __init__(self, directory: Directory, store: Store, user_id: str, run_id: str) -> None:
        self._directory, self._store, self._user_id, self._run_id = directory, store, user_id, run_id

    async def live(self, after: int) -> AsyncGenerator[Item]:
        async with aclosing(follow_run(self._directory, self._store, self._user_id, self._run_id, after)) as events:
            async for event in events:
                yield event_item(event)

    async def stored(self, after: int) -> Stored:
        asked = {"user_id": self._user_id, "run_id": self._run_id, "after": after, "limit": PAGE}
        events: tuple[RunEvent, ...] = await self._store.read("run_events", **asked)
        return Stored([event_item(each) for each in events], events[-1].seq if events else after, len(events) == PAGE)


class ChangeSource:
    """A user's changes."""

    def __init__(self, directory: Directory, store: Store, user_id: str) -> None:
        self._directory, self._store, self._user_id = directory, store, user_id

    async def live(self, after: int) -> AsyncGenerator[Item]:
        async with aclosing(follow_changes(self._directory, self._store, self._user_id, after)) as changes:
            async for change in changes:
                yield change_item(change)

    async def stored(self, after: int) -> Stored:
        page = await self._store.read("changes", user_id=self._user_id, after=after, limit=PAGE)
        return Stored([change_item(each) for each in page.items], page.upto, page.upto < page.head)


def event_item(event: RunEvent) -> Item:
    """A run's event as a message; its seq is the run's."""
    text = None if event.kind in HIDDEN else json_bytes({"type": "event", "event": event}).decode()
    return Item(text, event.seq, event.kind in ENDS)


def change_item(change: Change) -> Item:
    """A change as a message; its seq is the feed's."""
    return Item(json_bytes({"type": "change", "change": change}).decode(), change.seq)
