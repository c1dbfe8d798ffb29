"""The host of jobs: leases them, works on a few at once, tells each one's end, and waits quietly when there are none."""

import asyncio
import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.ingest.blob_files import BlobFiles
from actors.ingest.caps import Caps
from actors.ingest.document_job import Workshop, index_document, kept_result
from actors.ingest.holding import Holding
from actors.ingest.lines_job import index_lines
from actors.ingest.parsed import Refused
from actors.ingest.parser_pool import LOG_NAME, ParserDied, ParserPool, drop_result
from actors.ingest.passwords import Passwords
from actors.ingest.pipeline import Embedder, EmbedderAway
from actors.ingest.pulse import Pulse
from actors.ingest.watching import Watching
from perenne import metric_table as table
from perenne import metrics, names
from perenne.directory import Directory
from perenne.errors import DeadlineExceeded, LeaseLost, NotFound, PerenneError, StorageFailed, Unavailable
from perenne.ids import new_id
from perenne.messages.commands import SYSTEM_USER, LeaseJobs
from perenne.messages.records import Job
from perenne.settings import Settings
from perenne.store import Store

log = logging.getLogger(__name__)

POLL_S = 2.0  # the net under the writer's pushes
_DEBOUNCE_S = 0.05  # many writes in a row are one look
_REFUSED_AGAIN_S = 1.0  # how soon jobs that the store would not lease are asked for again
_PARSER_DEATHS_MAX = 3  # of one job's parser by no fault of the file, before the job fails
_KEPT_S = 86_400.0  # how long a result that nobody came back for is kept


def caps_of(settings: Settings) -> Caps:
    """The caps on one file, as set."""
    s = settings.ingest
    return Caps(
        s.file_bytes_max,
        s.pages_max,
        s.text_chars_max,
        s.memory_bytes_max,
        s.cpu_s_max,
        s.wall_s_max,
        chunk_chars=s.chunk_chars,
        unpacked_bytes_max=s.unpacked_bytes_max,
        entries_max=s.entries_max,
        nesting_max=s.nesting_max,
    )


class Host:
    """`run` until cancelled. One more job is in hand than files are parsed, so that the embedder has work meanwhile."""

    def __init__(self, name: str, settings: Settings, directory: Directory, passwords: Passwords) -> None:
        self._name, self._settings, self._directory = name, settings, directory
        self._store = Store(directory, settings.store.readers)
        self._slots = settings.ingest.workers + 1
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting = 0
        self._deaths: Counter[str] = Counter()
        self._refused: tuple[frozenset[str], float] = (frozenset(), 0.0)
        self._wake = asyncio.Event()
        self.pulse = Pulse()
        self.ended: Counter[str] = Counter()
        work = settings.path("ingest")
        blobs = BlobFiles(directory, settings.pc, self.pulse)
        self.watching = Watching(self._store, blobs, settings.ingest.file_bytes_max)
        self._shop = Workshop(
            store=self._store,
            pool=ParserPool(caps_of(settings), work, self.pulse.beat),
            embedder=Embedder(directory, self.pulse, settings.embedding.space),
            blobs=blobs,
            passwords=passwords,
            pulse=self.pulse,
            parsing=asyncio.Semaphore(settings.ingest.workers),
            work=work,
            chunk_chars=settings.ingest.chunk_chars,
            step_s=settings.ingest.wall_s_max + 30.0,
        )

    @property
    def queue(self) -> int:
        """Jobs in hand, and those seen waiting."""
        return len(self._running) + self._waiting

    def wake(self) -> None:
        """Look for jobs now; from the host's own loop."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what is in hand then stays leased, for the next host of this name to take back."""
        await asyncio.to_thread(self._sweep)
        asides = [asyncio.create_task(each) for each in (self._follow(), self._tick(), self._warm(), self._watch())]
        try:
            take_back = True
            while True:
                with contextlib.suppress(PerenneError):
                    await self._lease(take_back)
                    take_back = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(
                        POLL_S
                    ):  # not wait_for: Python 3.11's swallows a cancellation that meets the event
                        await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(_DEBOUNCE_S)
        finally:
            tasks = [*asides, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._shop.pool.close()

    def _sweep(self) -> None:
        """Make the folder, drop results that nobody came back for."""
        self._shop.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = time.time() - _KEPT_S
        for path in self._shop.work.iterdir():
            with contextlib.suppress(OSError):
                if path.name == LOG_NAME or path.stat().st_mtime < old:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def _warm(self) -> None:
        try:
            await self._shop.pool.warm()
        except OSError as error:
            log.warning("no parser could be started ahead: %s", error)

    async def _watch(self) -> None:
        while True:
            try:
                await self.watching.run()
            except Exception:
                log.exception("watching folders fell over and begins again")
                await asyncio.sleep(POLL_S)

    async def _tick(self) -> None:
        while True:
            self.pulse.beat()
            with contextlib.suppress(OSError):
                await self._shop.pool.rest()
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        """The writer's head moved: there may be a job."""
        head = 0
        while True:
            try:
                async for seq in self._directory.stream(
                    names.STORE_WRITER, "follow_head", silence_s=names.FOLLOW_SILENCE_S, after=head
                ):
                    if seq != head:
                        head = seq
                        self._wake.set()
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("following the writer's head failed; polling goes on")
                await asyncio.sleep(POLL_S)

    # Leasing

    async def _pending(self) -> frozenset[str]:
        """Jobs that may be leased now, others' expired ones included."""
        jobs: tuple[Job, ...] = await self._store.read("open_jobs", deadline_s=3.0)
        now = time.time()
        return frozenset(
            job.id
            for job in jobs
            if job.id not in self._running
            and (job.state == "queued" or (job.lease_until is not None and job.lease_until < now))
        )

    async def _lease(self, take_back: bool) -> None:
        free = self._slots - len(self._running)
        pending: frozenset[str] = frozenset()
        if not take_back:
            pending = await self._pending()
            self._waiting = len(pending)
            ids, at = self._refused
            if free <= 0 or not pending or (pending <= ids and time.monotonic() - at < _REFUSED_AGAIN_S):
                return
        jobs: tuple[Job, ...] = await self._store.write(
            LeaseJobs(
                command_id=new_id("cmd"),
                user_id=SYSTEM_USER,
                worker=self._name,
                limit=free,
                lease_s=self._settings.ingest.lease_s,
                take_back=take_back,
            ),
            deadline_s=5.0,
        )
        self._refused = (frozenset(), 0.0) if jobs else (pending, time.monotonic())
        for job in jobs:
            if job.id in self._running:  # its lease ran out under us: the old hands learn it from the store
                self._running.pop(job.id).cancel()
            self._running[job.id] = asyncio.create_task(self._hold(job))
        self._waiting = max(0, self._waiting - len(jobs))

    # One job

    async def _hold(self, job: Job) -> None:
        """Work on it as long as the lease is ours."""
        try:
            holding = Holding(job, self._store, self._settings.ingest.lease_s, self.pulse)
            working = asyncio.create_task(self._work(holding))
            lost, keeping = asyncio.create_task(holding.lost.wait()), asyncio.create_task(holding.keep())
            try:
                await asyncio.wait([working, lost], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (working, lost, keeping):
                    task.cancel()
                ends = await asyncio.gather(working, lost, keeping, return_exceptions=True)
            if isinstance(ends[0], PerenneError) and not isinstance(ends[0], LeaseLost):
                log.warning("the end of job %s could not be written, its lease will run out: %s", job.id, ends[0])
            if holding.lost.is_set():
                self.ended["lost"] += 1
                metrics.tell(table.JOBS, 1.0, "lost")
                await asyncio.to_thread(drop_result, kept_result(self._shop, job.id))
        except Exception:
            log.exception("job %s fell out of hand; its lease will run out", job.id)
        finally:
            if self._running.get(job.id) is asyncio.current_task():
                del self._running[job.id]
            self._wake.set()

    async def _work(self, holding: Holding) -> None:
        try:
            result = await self._do(holding)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except Exception as error:
            await self._end_badly(holding, error)
            return
        await self._end(holding, "done", result=result)

    async def _do(self, holding: Holding) -> dict[str, Any]:
        job = holding.job
        path = await self._shop.blobs.path(job.blob_hash or "")
        do: Callable[[Workshop, Holding, Path], Awaitable[dict[str, Any]]]
        do = index_lines if job.kind == "jsonl" else index_document
        return await do(self._shop, holding, path)

    async def _end(self, holding: Holding, state: Any, **why: Any) -> None:
        await holding.finish(state, **why)
        self.ended[state] += 1
        metrics.tell(table.JOBS, 1.0, state)
        self._deaths.pop(holding.job.id, None)
        self._shop.passwords.forget(holding.job.id)
        await asyncio.to_thread(drop_result, kept_result(self._shop, holding.job.id))

    async def _end_badly(self, holding: Holding, error: Exception) -> None:
        """An outage puts the job back, the file's fault refuses it, ours fails it; the next goes on in any case."""
        job_id = holding.job.id
        match error:
            case Refused():
                await self._end(
                    holding, "refused", reason=str(error), code=error.code, details=error.details, result=error.result
                )
            case EmbedderAway():
                await holding.release(error.delay_s, str(error))
            case NotFound() if error.kind == "blob":
                gone = "its bytes are gone from the store of files: add it again"
                await self._end(holding, "failed", reason=gone, code="file_missing")
            case NotFound():
                await self._end(holding, "failed", reason=str(error), code="deleted")
            case Unavailable() | DeadlineExceeded():
                await holding.release(2.0, f"waiting: {error}")
            case StorageFailed():
                await holding.release(30.0, str(error))
            case ParserDied():
                self._deaths[job_id] += 1
                if self._deaths[job_id] < _PARSER_DEATHS_MAX:
                    await holding.release(1.0, str(error))
                else:
                    await self._end(holding, "failed", reason=str(error), code=error.code, details=error.details)
            case PerenneError():
                await self._end(holding, "failed", reason=f"it could not be indexed: {error}")
            case _:
                log.exception("job %s failed", job_id, exc_info=error)
                await self._end(holding, "failed", reason=f"it could not be indexed: {type(error).__name__}: {error}"[:400])
