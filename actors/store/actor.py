"""The shells of the database: one that writes, some that read."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import ray

from perenne import correlation, logs, metrics, names
from perenne import metric_table as table
from perenne.client import lines_folder, ray_instrument
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import DeadlineExceeded
from perenne.lifecycle import Lifecycle
from perenne.line_owner import LineOwner
from perenne.log_segments import FOLDER
from perenne.messages.alerts import Alert, Channel, ChannelSecret, Delivery, JobFigures, Silence, Subscriber
from perenne.messages.backups import Cut, CutChecked
from perenne.messages.commands import Command, Outcome, StoreDocuments
from perenne.messages.health import Health
from perenne.messages.records import (
    Changes,
    Conversation,
    Document,
    DocumentText,
    HeldFile,
    Job,
    Key,
    Message,
    Page,
    Project,
    ProjectFigures,
    Run,
    RunEvent,
    User,
    Watch,
)
from perenne.messages.search import Feed, Filters, LexicalHits, Passages, ShardHits, ShardQuery
from perenne.relief import give_back
from perenne.settings import Settings

method = cast("Any", ray).method

log = logging.getLogger(__name__)

ASK_S = 30.0  # the longest that a question may take: then it is ended


def _group_of(member: object) -> str | None:
    """The concurrency group that `method` put a function in."""
    return getattr(member, "__ray_concurrency_group__", None)


@takes_ids
class StoreWriter:
    """The one writer. See `actors.store.writer.WriterCore`."""

    CONCURRENCY = {"health": 2, "submit": 1024, "follow": 256}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        from actors.store.guarding import Guard
        from actors.store.mutants import mutants_of
        from actors.store.refusing import Refusal
        from actors.store.run_lines import say_runs
        from actors.store.writer import WriterCore
        from perenne.room import Room

        logs.begin(name, settings)
        room = Room(settings.path("store"), settings.disk)
        self._core = WriterCore(
            settings.database_url,
            queue=settings.store.queue,
            batch=settings.store.batch,
            mutants=mutants_of(settings),
            on_commit=self._committed,
            dumps=settings.path("store"),
            tell=self._at,
            guard=Guard(settings),
            handover=settings.path("store", FOLDER) if settings.backups.moments_days else None,
            room=room.shortage,
        )
        self._say_runs = say_runs
        self._refusal = Refusal(room.shortage if settings.store.url is None else lambda: None)
        self._moved: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}  # of each loop that follows: set at the next head
        self._seen = 0
        self._life = Lifecycle(name, settings, directory, self._core.open)
        self._life.begin()
        LineOwner(name, self, frozenset({"submit"}), lines_folder(settings.ray_dir)).begin()
        metrics.look(self._count)
        metrics.begin(name, ray_instrument)

    def _count(self) -> None:
        metrics.tell(table.WRITER_QUEUE, self._core.queue)
        metrics.tell(table.WRITER_LOG, self._core.log_bytes)

    @method(concurrency_group="submit")
    async def submit(self, *, commands: tuple[Command, ...]) -> tuple[Outcome, ...]:
        """An Outcome each, in order, once they are on disk; with StorageFailed or Unavailable what `Refusal` says. Busy or TooLarge:
        none was taken."""
        await self._life.ready()
        refused = self._refusal.errors(commands)
        if not refused:
            outcomes = await self._take(commands)
            self._say_runs(commands, outcomes)
            return outcomes
        from actors.store.refusing import merged

        taken = await self._take(tuple(command for place, command in enumerate(commands) if place not in refused))
        return merged(commands, refused, taken, self._core.head)

    async def _take(self, commands: tuple[Command, ...]) -> tuple[Outcome, ...]:
        if any(type(command) is StoreDocuments for command in commands):
            answered = await asyncio.to_thread(self._core.submit, commands)  # its terms take time to make
        else:
            answered = self._core.submit(commands)
        return await asyncio.wrap_future(answered)

    @method(concurrency_group="health")
    async def drain(self) -> None:
        """From now on nothing new is begun: each such command is answered with Unavailable. Harmless twice."""
        self._refusal.stopping = True

    @method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @method(concurrency_group="health")
    async def head(self) -> int:
        """The feed's last sequence number that is on disk."""
        await self._life.ready()
        return self._core.head

    @method(concurrency_group="health")
    async def epoch(self) -> int:
        """Raised at every start of a writer."""
        await self._life.ready()
        return self._core.epoch

    def _at(self, detail: str) -> None:
        """In the thread that recovers."""
        self._life.tell(detail)

    def _committed(self, head: int) -> None:
        """In the writer's thread."""
        if head == self._seen:
            return
        self._seen = head
        for loop in tuple(self._moved):
            try:
                loop.call_soon_threadsafe(self._wake, loop)
            except RuntimeError:  # it is closed, and so is whoever followed on it
                self._moved.pop(loop, None)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        moved, self._moved[loop] = self._moved[loop], asyncio.Event()
        moved.set()

    @method(concurrency_group="follow")
    async def follow_head(self, *, after: int) -> AsyncIterator[int]:
        """Each new head at once, the same again every second; ends after 30 s and is asked again."""
        await self._life.ready()
        loop = asyncio.get_running_loop()
        self._moved.setdefault(loop, asyncio.Event())
        end = time.monotonic() + names.FOLLOW_LEASE_S
        last = after
        while (left := end - time.monotonic()) > 0:
            moved = self._moved[loop]
            head = self._core.head
            if head <= last:
                try:
                    async with asyncio.timeout(min(names.HEARTBEAT_S, left)):
                        await moved.wait()
                except TimeoutError:
                    yield self._core.head
                continue
            last = head
            yield head

    @method(concurrency_group="health")
    async def health(self) -> Health:
        core = self._core
        if core.fenced:
            self._life.degrade("another writer took over")
        elif not core.alive:
            self._life.degrade("nothing writes")
        return self._life.health(
            queue=core.queue, progress_age_s=core.progress_age_s, head=core.head, epoch=core.epoch, log_bytes=core.log_bytes
        )

    async def close(self) -> None:
        """Finish what is queued and let go of the database."""
        await asyncio.to_thread(self._core.close)


@takes_ids
class StoreReader:
    """Read-only questions, each answered from one moment of the database. NotFound for what is not the user's."""

    CONCURRENCY = {"health": 2, "read": 64, "copy": 2}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        from actors.store import alerts, changed, feed, fulltext, hearers, job_figures, outbox, reading, talks, telling, watches
        from actors.store.reader import ReaderCore

        logs.begin(name, settings)
        self._feed, self._fulltext, self._reading, self._talks = feed, fulltext, reading, talks
        self._watches, self._changed = watches, changed
        self._alerts, self._hearers, self._outbox = alerts, hearers, outbox
        self._telling, self._figures = telling, job_figures
        self._name, self._url = name, settings.database_url
        self._core = ReaderCore(settings.database_url, longest_s=ASK_S)
        self._open: set[object] = set()  # a set, because two threads ask: Ray's and the line's
        self._progress = time.monotonic()
        self._life = Lifecycle(name, settings, directory, self._core.open)
        self._life.begin()
        reads = frozenset(named for named, one in vars(StoreReader).items() if _group_of(one) == "read")
        LineOwner(name, self, reads, lines_folder(settings.ray_dir)).begin()
        metrics.begin(name, ray_instrument)

    async def _ask(self, question: Callable[..., Any], **arguments: Any) -> Any:
        await self._life.ready()
        if not self._open:
            self._progress = time.monotonic()
        asked = object()
        self._open.add(asked)
        try:
            async with asyncio.timeout(ASK_S):
                return await asyncio.wrap_future(self._core.submit(question, **arguments))
        except TimeoutError:
            raise DeadlineExceeded(f"{self._name}.{getattr(question, '__name__', 'question')}", ASK_S) from None
        finally:
            self._open.discard(asked)
            self._progress = time.monotonic()

    # People

    @method(concurrency_group="read")
    async def key_by_hash(self, *, key_hash: str) -> Key | None:
        return await self._ask(self._reading.key_by_hash, key_hash=key_hash)

    @method(concurrency_group="read")
    async def users(self) -> tuple[User, ...]:
        return await self._ask(self._reading.list_users)

    @method(concurrency_group="read")
    async def keys(self, *, user_id: str) -> tuple[Key, ...]:
        return await self._ask(self._reading.list_keys, user_id=user_id)

    @method(concurrency_group="read")
    async def recent_keys(self, *, since: float) -> tuple[Key, ...]:
        """Of all users, those that were made or revoked after `since`; but for the one that a user began with."""
        return await self._ask(self._reading.recent_keys, since=since)

    # Projects, documents, jobs

    @method(concurrency_group="read")
    async def projects(self, *, user_id: str, limit: int = 100, after: str | None = None) -> Page[Project]:
        return await self._ask(self._reading.list_projects, user_id=user_id, limit=limit, after=after)

    @method(concurrency_group="read")
    async def project(self, *, user_id: str, project: str) -> Project:
        """By id or by name."""
        return await self._ask(self._reading.find_project, user_id=user_id, project=project)

    @method(concurrency_group="read")
    async def project_figures(self, *, user_id: str, project_ids: tuple[str, ...]) -> dict[str, ProjectFigures]:
        return await self._ask(self._reading.project_figures, user_id=user_id, project_ids=project_ids)

    @method(concurrency_group="read")
    async def documents(
        self,
        *,
        user_id: str,
        project_id: str | None = None,
        state: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Document]:
        return await self._ask(
            self._reading.list_documents, user_id=user_id, project_id=project_id, state=state, limit=limit, after=after
        )

    @method(concurrency_group="read")
    async def document(self, *, user_id: str, document_id: str) -> Document:
        return await self._ask(self._reading.find_document, user_id=user_id, document_id=document_id)

    @method(concurrency_group="read")
    async def document_ids(
        self, *, user_id: str, project_id: str | None = None, external_ids: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Of the documents that have one of these external ids."""
        return await self._ask(
            self._reading.documents_named, user_id=user_id, project_id=project_id, external_ids=tuple(external_ids)
        )

    @method(concurrency_group="read")
    async def document_text(self, *, user_id: str, document_id: str, start: int = 0, end: int | None = None) -> DocumentText:
        return await self._ask(self._reading.document_text, user_id=user_id, document_id=document_id, start=start, end=end)

    @method(concurrency_group="read")
    async def jobs(
        self,
        *,
        user_id: str,
        project_id: str | None = None,
        states: tuple[str, ...] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[Job]:
        return await self._ask(
            self._reading.list_jobs, user_id=user_id, project_id=project_id, states=states, limit=limit, after=after
        )

    @method(concurrency_group="read")
    async def job(self, *, user_id: str, job_id: str) -> Job:
        return await self._ask(self._reading.find_job, user_id=user_id, job_id=job_id)

    @method(concurrency_group="read")
    async def watches(self, *, user_id: str | None) -> tuple[Watch, ...]:
        """Of everybody when the system asks (None)."""
        return await self._ask(self._watches.list_watches, user_id=user_id)

    @method(concurrency_group="read")
    async def watched_files(
        self, *, user_id: str, watch_id: str, limit: int = 1_000, after: str | None = None
    ) -> Page[HeldFile]:
        return await self._ask(self._watches.watched_files, user_id=user_id, watch_id=watch_id, limit=limit, after=after)

    @method(concurrency_group="read")
    async def open_jobs(self) -> tuple[Job, ...]:
        return await self._ask(self._reading.open_jobs)

    @method(concurrency_group="read")
    async def blob_hashes(self) -> frozenset[str]:
        """The files that documents and jobs name, of all users: what a sweep must spare."""
        return await self._ask(self._reading.blob_hashes)

    # Conversations and runs

    @method(concurrency_group="read")
    async def conversations(
        self, *, user_id: str, project_id: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[Conversation]:
        return await self._ask(self._talks.list_conversations, user_id=user_id, project_id=project_id, limit=limit, after=after)

    @method(concurrency_group="read")
    async def conversation(self, *, user_id: str, conversation_id: str) -> Conversation:
        return await self._ask(self._talks.find_conversation, user_id=user_id, conversation_id=conversation_id)

    @method(concurrency_group="read")
    async def messages(
        self, *, user_id: str, conversation_id: str, limit: int = 200, after: str | None = None, leaf_id: str | None = None
    ) -> Page[Message]:
        return await self._ask(
            self._talks.list_messages,
            user_id=user_id,
            conversation_id=conversation_id,
            limit=limit,
            after=after,
            leaf_id=leaf_id,
        )

    @method(concurrency_group="read")
    async def message(self, *, user_id: str, message_id: str) -> Message:
        return await self._ask(self._talks.find_message, user_id=user_id, message_id=message_id)

    @method(concurrency_group="read")
    async def run(self, *, user_id: str | None, run_id: str) -> Run:
        """`user_id` None: any user's."""
        return await self._ask(self._talks.find_run, user_id=user_id, run_id=run_id)

    @method(concurrency_group="read")
    async def run_events(self, *, user_id: str | None, run_id: str, after: int = 0, limit: int = 500) -> tuple[RunEvent, ...]:
        return await self._ask(self._talks.list_run_events, user_id=user_id, run_id=run_id, after=after, limit=limit)

    @method(concurrency_group="read")
    async def open_runs(self, *, limit: int = 500) -> tuple[Run, ...]:
        return await self._ask(self._talks.open_runs, limit=limit)

    @method(concurrency_group="read")
    async def run_before(self, *, question_id: str) -> str | None:
        """The open run that writes the answer before this question."""
        return await self._ask(self._talks.find_run_before, question_id=question_id)

    # Alerts, who hears of them, and the outbox

    @method(concurrency_group="read")
    async def alerts(self, *, state: str | None = None, limit: int = 100, after: str | None = None) -> Page[Alert]:
        return await self._ask(self._alerts.list_alerts, state=state, limit=limit, after=after)

    @method(concurrency_group="read")
    async def open_alerts(self) -> tuple[Alert, ...]:
        return await self._ask(self._alerts.open_alerts)

    @method(concurrency_group="read")
    async def alert(self, *, alert_id: str) -> Alert:
        return await self._ask(self._alerts.find_alert, alert_id=alert_id)

    @method(concurrency_group="read")
    async def silences(self, *, now: float | None = None) -> tuple[Silence, ...]:
        """Those that have not ended at `now`."""
        return await self._ask(self._alerts.list_silences, now=now)

    @method(concurrency_group="read")
    async def channels(self) -> tuple[Channel, ...]:
        return await self._ask(self._hearers.list_channels)

    @method(concurrency_group="read")
    async def channel_secret(self, *, channel_id: str) -> ChannelSecret:
        """For the one who sends."""
        return await self._ask(self._hearers.channel_secret, channel_id=channel_id)

    @method(concurrency_group="read")
    async def subscribers(self) -> tuple[Subscriber, ...]:
        return await self._ask(self._hearers.list_subscribers)

    @method(concurrency_group="read")
    async def deliveries(self, *, state: str | None = None, limit: int = 100, after: str | None = None) -> Page[Delivery]:
        return await self._ask(self._outbox.list_deliveries, state=state, limit=limit, after=after)

    @method(concurrency_group="read")
    async def next_delivery_at(self, *, but_channels: tuple[str, ...] = ()) -> float | None:
        """When a message is due next, over other channels than these."""
        return await self._ask(self._outbox.next_delivery_at, but_channels=tuple(but_channels))

    @method(concurrency_group="read")
    async def held_back(self) -> int:
        """How many changes of alerts were held back, and no summary told of them yet."""
        return await self._ask(self._telling.held_back)

    @method(concurrency_group="read")
    async def alerts_over(self, *, before: float) -> bool:
        """Whether there are alerts that were over before this."""
        return await self._ask(self._alerts.alerts_over, before=before)

    @method(concurrency_group="read")
    async def job_figures(self, *, now: float, since: float) -> JobFigures:
        """Of all users; failures after `since` count."""
        return await self._ask(self._figures.job_figures, now=now, since=since)

    # Search

    @method(concurrency_group="read")
    async def search_text(
        self, *, user_id: str, project_id: str | None, query: str, k: int, filters: Filters | None = None
    ) -> LexicalHits:
        began = time.monotonic()
        found: LexicalHits = await self._ask(
            self._fulltext.search_text,
            counted=self._core.counted,
            user_id=user_id,
            project_id=project_id,
            query=query,
            k=k,
            filters=filters or Filters(),
        )
        log.log(
            correlation.level(), "searched by words in %.1f ms: %d found", (time.monotonic() - began) * 1000, len(found.ids)
        )
        return found

    @method(concurrency_group="read")
    async def chunks(self, *, user_id: str, chunk_ids: tuple[int, ...], project_id: str | None = None) -> Passages:
        """With a project, only what is in it now."""
        return await self._ask(self._reading.find_chunks, user_id=user_id, chunk_ids=tuple(chunk_ids), project_id=project_id)

    @method(concurrency_group="read")
    async def neighbours(self, *, user_id: str, chunk_id: int, before: int = 1, after: int = 1) -> Passages:
        return await self._ask(self._reading.neighbours, user_id=user_id, chunk_id=chunk_id, before=before, after=after)

    @method(concurrency_group="read")
    async def index_feed(self, *, space: str, after_seq: int, limit_bytes: int = 4 << 20) -> Feed:
        return await self._ask(self._feed.index_feed, space=space, after_seq=after_seq, limit_bytes=limit_bytes)

    @method(concurrency_group="read")
    async def scan(self, *, user_id: str, space: str, query: ShardQuery, after_seq: int) -> ShardHits:
        return await self._ask(self._feed.scan, user_id=user_id, space=space, query=query, after_seq=after_seq)

    @method(concurrency_group="read")
    async def vector_head(self, *, user_id: str, project_id: str | None = None) -> int:
        return await self._ask(self._fulltext.vector_head, user_id=user_id, project_id=project_id)

    # The house

    @method(concurrency_group="read")
    async def changes(self, *, user_id: str, after: int | None = None, limit: int = 500) -> Changes:
        """Of this user's things, in order; none and the head when `after` is left out."""
        return await self._ask(self._changed.list_changes, user_id=user_id, after=after, limit=limit)

    @method(concurrency_group="read")
    async def counts(self) -> dict[str, int]:
        return await self._ask(self._talks.counts)

    # Copies, each made by a process of its own

    @method(concurrency_group="copy")
    async def cut_database(self, *, folder: str) -> Cut:
        """Copy the database as it is at one moment into a folder of this PC; see `cutting.cut`."""
        from actors.store.copying import cut_apart

        await self._life.ready()
        return await asyncio.to_thread(cut_apart, self._url, Path(folder))

    @method(concurrency_group="copy")
    async def check_copy(self, *, folder: str, cut: Cut) -> CutChecked:
        """Compare the copy in a folder of this PC with what was recorded of it; see `restored.check_restorable`."""
        from actors.store.copying import check_apart

        await self._life.ready()
        return await asyncio.to_thread(check_apart, self._url, Path(folder), cut)

    @method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @method(concurrency_group="health")
    async def health(self) -> Health:
        age = time.monotonic() - self._progress if self._open else 0.0
        return self._life.health(queue=len(self._open), progress_age_s=age)

    async def close(self) -> None:
        """Wait for open questions."""
        await asyncio.to_thread(self._core.close)
