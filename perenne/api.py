"""What a client can do with Perenne: one async interface, over actor handles or over HTTP."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perenne.errors import DeadlineExceeded, EngineFailed, PerenneError
from perenne.messages.commands import DocumentAdded, MessagePosted
from perenne.messages.health import TreeStatus
from perenne.messages.models import ModelState
from perenne.messages.records import (
    Change,
    Citation,
    Conversation,
    Document,
    DocumentText,
    Job,
    Key,
    Message,
    Page,
    Project,
    Run,
    RunEvent,
    RunOptions,
    Scope,
    Usage,
    Watch,
    WatchState,
)
from perenne.messages.search import Filters, Hit, SearchResponse

JOB_ENDS = ("done", "refused", "failed", "cancelled")
_JOB_POLL_S = (0.05, 1.0)  # first and longest pause between looks at a job

Progress = Callable[[int, int], None]  # bytes sent, bytes in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished answer: its text, where its claims stand, and the passages that were read."""

    text: str
    citations: tuple[Citation, ...]
    sources: tuple[Hit, ...]
    conversation_id: str
    question_id: str
    message_id: str
    run_id: str
    state: str
    grounded: bool
    usage: Usage | None = None


class Perenne(ABC):
    """A connection. Methods raise `perenne.errors`; a write that raised Unavailable or DeadlineExceeded was tried until its
    deadline under one id, so that calling again is the caller's choice and never doubles what one call wrote."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """End the connection; nothing that runs on the server ends with it."""

    # Projects

    @abstractmethod
    async def projects(self) -> tuple[Project, ...]:
        """All projects of the caller."""

    @abstractmethod
    async def project(self, project: str) -> Project:
        """One project by id or name."""

    @abstractmethod
    async def create_project(self, name: str) -> Project:
        """A new project; Conflict when the name is taken."""

    @abstractmethod
    async def rename_project(self, project: str, name: str) -> Project: ...

    @abstractmethod
    async def delete_project(self, project: str) -> None:
        """Delete a project, and its documents that are in no other."""

    # Documents and jobs

    @abstractmethod
    async def add(
        self,
        path: Path,
        project: str,
        *,
        title: str | None = None,
        external_id: str | None = None,
        password: str | None = None,
        on_progress: Progress | None = None,
    ) -> DocumentAdded:
        """Send a file. Once this returns, file and job are on disk; indexing goes on behind (see `wait_job`). Of a large file what
        came is kept for a day: the same call again, over this transport or the other, goes on where it was cut."""

    @abstractmethod
    async def add_jsonl(self, path: Path, project: str, *, on_progress: Progress | None = None) -> Job:
        """Send JSON lines (`id`, `title`, `text`) as one job; each line becomes a document with that external id. A large file
        is gone on with as by `add`."""

    @abstractmethod
    async def documents(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Document]: ...

    @abstractmethod
    async def document(self, document_id: str) -> Document: ...

    @abstractmethod
    async def document_text(self, document_id: str, start: int = 0, end: int | None = None) -> DocumentText: ...

    @abstractmethod
    async def delete_document(self, document_id: str) -> None: ...

    @abstractmethod
    async def jobs(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Job]: ...

    @abstractmethod
    async def job(self, job_id: str) -> Job: ...

    @abstractmethod
    async def cancel_job(self, job_id: str) -> Job: ...

    @abstractmethod
    async def retry_job(self, job_id: str, *, password: str | None = None) -> Job: ...

    # Watched folders (a key with the scope admin)

    @abstractmethod
    async def watches(self) -> tuple[WatchState, ...]:
        """The folders that are watched, and how it stands with each."""

    @abstractmethod
    async def add_watch(self, path: str, project: str, *, ignore: tuple[str, ...] = ()) -> Watch:
        """Watch a folder of the PC that reads files. InvalidRequest when it can't be, Conflict when it is already."""

    @abstractmethod
    async def remove_watch(self, watch_id: str) -> None:
        """Watch a folder no more; its documents stay."""

    # Search and answers

    @abstractmethod
    async def search(
        self, query: str, project: str | None = None, *, k: int = 10, filters: Filters | None = None
    ) -> SearchResponse:
        """The passages that bear on the query, best first."""

    @abstractmethod
    async def conversations(
        self, project: str | None = None, *, limit: int = 50, after: str | None = None
    ) -> Page[Conversation]: ...

    @abstractmethod
    async def messages(
        self, conversation_id: str, *, leaf: str | None = None, limit: int = 200, after: str | None = None
    ) -> Page[Message]:
        """The messages of one branch, in order: the one that ends with the message `leaf`, else the one that is shown. `siblings` of
        each are the ids of all that follow the same message."""

    @abstractmethod
    async def choose(self, message_id: str) -> Conversation:
        """Show the branch of this message from now on, with the newest of what follows it."""

    @abstractmethod
    async def delete_conversation(self, conversation_id: str) -> None: ...

    @abstractmethod
    async def post(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        project: str | None = None,
        parent: str | None = None,
        edits: str | None = None,
        options: RunOptions | None = None,
    ) -> MessagePosted:
        """Post a question. Once this returns, question and run are on disk and the answer will come, after those that were asked for
        before it; see `events`. It follows the answer `parent`, else the last message that is shown; with `edits` it stands beside
        that question, and the conversation gets a branch. NotFound when `conversation_id` has no such message."""

    @abstractmethod
    async def regenerate(self, message_id: str, *, options: RunOptions | None = None) -> MessagePosted:
        """A new answer to the question behind this answer (or to this question), beside those that there are."""

    @abstractmethod
    async def run(self, run_id: str) -> Run: ...

    @abstractmethod
    def events(self, run_id: str, after: int = 0) -> AsyncGenerator[RunEvent]:
        """A run's events after a sequence number, in order, once each, until it ends; a cut stream is resumed in here.
        Who leaves the loop early closes it (`contextlib.aclosing`)."""

    @abstractmethod
    async def stop(self, run_id: str) -> Run: ...

    @abstractmethod
    def changes(self, after: int | None = None, *, origin: str | None = None) -> AsyncGenerator[Change]:
        """Every change of what is the caller's (projects, documents, jobs, conversations, messages, runs) after a sequence number,
        in order, once each, without end; a cut stream is resumed in here. Without `after` the first is the feed's own `start`: what
        is read from then on lacks no change that does not come. `origin` is the `id` that came with it: given again beside `after`
        it shows whether the sequence is still the same. If it is not, the next is a `reset`. Forbidden for a key of one project.
        Who leaves the loop early closes it (`contextlib.aclosing`)."""

    # The house

    @abstractmethod
    async def status(self) -> TreeStatus: ...

    @abstractmethod
    async def models(self) -> tuple[ModelState, ...]: ...

    @abstractmethod
    async def keys(self) -> tuple[Key, ...]: ...

    @abstractmethod
    async def create_key(
        self, label: str, scopes: Sequence[Scope] = ("read", "write"), *, project: str | None = None, days: float | None = None
    ) -> tuple[Key, str]:
        """A new key and its secret, which is shown this once."""

    @abstractmethod
    async def revoke_key(self, key_id: str) -> Key: ...

    # Made of the above

    async def ensure_project(self, project: str) -> Project:
        """The project of that name or id, made when there is none of that name."""
        from perenne.errors import Conflict, NotFound

        try:
            return await self.project(project)
        except NotFound:
            try:
                return await self.create_project(project)
            except Conflict:  # somebody was quicker
                return await self.project(project)

    async def wait_job(
        self, job_id: str, on_change: Callable[[Job], None] | None = None, timeout_s: float | None = None
    ) -> Job:
        """The job once it has ended, whatever its end. `on_change` sees each new state of progress."""
        pause, longest = _JOB_POLL_S
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        seen: tuple[Any, ...] = ()
        while True:
            job = await self.job(job_id)
            now = (job.state, job.done, job.total, job.reason)
            if now != seen and on_change is not None:
                on_change(job)
            if job.state in JOB_ENDS:
                return job
            if deadline is not None and asyncio.get_running_loop().time() > deadline:
                raise DeadlineExceeded(f"job {job_id}", timeout_s or 0.0)
            pause = _JOB_POLL_S[0] if now != seen else min(longest, pause * 1.5)
            seen = now
            await asyncio.sleep(pause)

    async def ask(
        self,
        question: str,
        project: str | None = None,
        *,
        conversation_id: str | None = None,
        parent: str | None = None,
        edits: str | None = None,
        options: RunOptions | None = None,
        on_event: Callable[[RunEvent], None] | None = None,
    ) -> Answer:
        """Ask (see `post`) and wait for the whole answer. `on_event` sees every event on its way. EngineFailed when the run failed."""
        posted = await self.post(
            question, conversation_id=conversation_id, project=project, parent=parent, edits=edits, options=options
        )
        return await self._answered(posted, on_event)

    async def ask_again(
        self,
        message_id: str,
        *,
        options: RunOptions | None = None,
        on_event: Callable[[RunEvent], None] | None = None,
    ) -> Answer:
        """Have an answer made again (see `regenerate`) and wait for the whole of it, as `ask` does."""
        return await self._answered(await self.regenerate(message_id, options=options), on_event)

    async def _answered(self, posted: MessagePosted, on_event: Callable[[RunEvent], None] | None) -> Answer:
        sources: tuple[Hit, ...] = ()
        async with aclosing(self.events(posted.run.id)) as events:
            async for event in events:
                if on_event is not None:
                    on_event(event)
                if event.kind == "sources":
                    sources = decode(tuple[Hit, ...], event.data.get("hits", []))
                elif event.kind == "error":
                    raise EngineFailed("run", str(event.data.get("message", "the run failed")))
                elif event.kind == "done":
                    return _answer(posted, event, sources)
        raise PerenneError(f"run {posted.run.id} ended without a word")


def _answer(posted: MessagePosted, done: RunEvent, sources: tuple[Hit, ...]) -> Answer:
    usage = done.data.get("usage")
    return Answer(
        text=done.data.get("text", ""),
        citations=decode(tuple[Citation, ...], done.data.get("citations", [])),
        sources=sources,
        conversation_id=posted.run.conversation_id,
        question_id=posted.question.id,
        message_id=posted.reply.id,
        run_id=posted.run.id,
        state=done.data.get("state", "done"),
        grounded=bool(done.data.get("grounded", False)),
        usage=decode(Usage, usage) if usage else None,
    )


def decode(kind: Any, value: Any) -> Any:
    """JSON-like data as the dataclass it stands for. Unknown fields are passed over: a newer server may send more."""
    from perenne.decoding import adapter

    return adapter(kind).validate_python(value)
