"""A job in hand: its lease kept alive, its progress told, its end written; everything under the lease's token."""

import asyncio
import hashlib
import logging
from typing import Any, Literal

from actors.ingest.pulse import Pulse
from perenne.errors import Busy, Conflict, DeadlineExceeded, LeaseLost, NotFound, PerenneError, Unavailable
from perenne.ids import new_id
from perenne.messages.commands import (
    AddDocument,
    Command,
    DocumentAdded,
    FinishJob,
    IndexedDocument,
    ReleaseJob,
    RenewJob,
    StoreDocuments,
)
from perenne.messages.records import Details, Job, ReasonCode
from perenne.store import Store

log = logging.getLogger(__name__)

_RENEWALS_A_LEASE = 3  # so that two may fail before it is lost
_WRITE_DEADLINE_S = 20.0
_AWAY = (Unavailable, DeadlineExceeded, Busy)


class Holding:
    """One leased job. `lost` is set once the lease is another's or the job was cancelled: then nothing more is written."""

    def __init__(self, job: Job, store: Store, lease_s: float, pulse: Pulse) -> None:
        if job.lease_token is None:
            raise ValueError(f"job {job.id!r} came without a lease")
        self.job, self._store, self._lease_s, self._pulse = job, store, lease_s, pulse
        self._token = job.lease_token
        self._done, self._total, self._unit = job.done, job.total, job.unit
        self._told: tuple[object, ...] = (self._done, self._total, self._unit)
        self._moved = asyncio.Event()
        self.lost = asyncio.Event()

    def _id(self, what: str) -> str:
        """The same within one lease, so that a write sent twice is done once. Another lease has ids of its own: its token is
        in the body, and a step that it repeats is one that the checkpoint does not cover."""
        digest = hashlib.sha256(f"{self.job.id}\0{self._token}\0{what}".encode()).hexdigest()
        return f"cmd_{digest[:32]}"

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """What the next renewal tells."""
        self._done, self._total, self._unit = done, total, unit
        self._moved.set()

    async def _write(self, command: Command) -> Any:
        """Until it is written or can't be: an outage of the writer is waited out, for as long as the lease may be ours."""
        while True:
            if self.lost.is_set():
                raise LeaseLost(self.job.id)
            try:
                with self._pulse.step(_WRITE_DEADLINE_S + 15.0):
                    return await self._store.write(command, deadline_s=_WRITE_DEADLINE_S)
            except _AWAY:
                continue
            except LeaseLost:
                self.lost.set()
                raise
            except NotFound as error:
                if error.kind != "job":
                    raise  # its project or document went away
                self.lost.set()
                raise LeaseLost(self.job.id) from None

    async def keep(self) -> None:
        """Renew the lease until cancelled; ends when it is lost."""
        while not self.lost.is_set():
            try:
                async with asyncio.timeout(self._lease_s / _RENEWALS_A_LEASE):
                    await self._moved.wait()
                self._moved.clear()
                if (self._done, self._total, self._unit) == self._told:
                    continue
            except TimeoutError:
                pass
            self._told = (self._done, self._total, self._unit)
            await self._renew()
            await asyncio.sleep(0.5)  # progress is told twice a second at most

    async def _renew(self) -> None:
        command = RenewJob(
            command_id=new_id("cmd"),
            user_id=self.job.user_id,
            job_id=self.job.id,
            lease_token=self._token,
            lease_s=self._lease_s,
            done=self._done,
            total=self._total,
            unit=self._unit,
        )
        try:
            await self._store.write(command, deadline_s=self._lease_s / _RENEWALS_A_LEASE)
        except (Conflict, NotFound):
            self.lost.set()
        except PerenneError as error:  # the store is away, or its disk is full: the next one may get through
            log.info("the lease on job %s was not renewed: %s", self.job.id, error)

    async def commit(
        self, documents: tuple[IndexedDocument, ...], *, space: str, checkpoint: str, done: int, total: int | None, unit: str
    ) -> None:
        """Documents, checkpoint and progress in one transaction; LeaseLost when the job is no longer ours."""
        self._done, self._total, self._unit = done, total, unit
        self._told = (done, total, unit)
        await self._write(
            StoreDocuments(
                command_id=self._id(f"store {checkpoint}"),
                user_id=self.job.user_id,
                job_id=self.job.id,
                lease_token=self._token,
                lease_s=self._lease_s,
                project_id=self.job.project_id or "",
                space=space,
                documents=documents,
                checkpoint=checkpoint,
                done=done,
                total=total,
                unit=unit,
            )
        )

    async def add(
        self, path: str, *, title: str, external_id: str, filename: str, blob_hash: str, size_bytes: int
    ) -> DocumentAdded:
        """A file of this job's archive as a document of its own, queued like any other."""
        name = hashlib.sha256(f"{self.job.id}\0{self._token}\0{path}".encode()).hexdigest()[:32]
        return await self._write(
            AddDocument(
                command_id=self._id(f"add {path}"),
                user_id=self.job.user_id,
                document_id=f"doc_{name}",
                job_id=f"job_{name}",
                project_id=self.job.project_id or "",
                title=title,
                external_id=external_id,
                filename=filename,
                blob_hash=blob_hash,
                size_bytes=size_bytes,
            )
        )

    async def finish(
        self,
        state: Literal["done", "refused", "failed"],
        *,
        reason: str | None = None,
        code: ReasonCode = "internal",
        details: Details | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        """The job's end; but for "done" with the reason of it."""
        await self._write(
            FinishJob(
                command_id=self._id("finish"),
                user_id=self.job.user_id,
                job_id=self.job.id,
                lease_token=self._token,
                state=state,
                reason=reason,
                code=code,
                details=details or {},
                result=result or {},
            )
        )

    async def release(self, delay_s: float, reason: str) -> None:
        """Back to the queue, for an outage."""
        await self._write(
            ReleaseJob(
                command_id=self._id("release"),
                user_id=self.job.user_id,
                job_id=self.job.id,
                lease_token=self._token,
                delay_s=delay_s,
                reason=reason,
            )
        )
