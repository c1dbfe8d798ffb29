"""The client over actor handles: inside the cluster, or beside it on the same PC. Its caller is an operator: no key, no scopes."""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from perenne import names
from perenne.actor_uploads import KeptUpload
from perenne.api import Perenne, Progress
from perenne.directory import Directory
from perenne.errors import Conflict, DeadlineExceeded, NotFound, PerenneError, Unavailable
from perenne.following import follow_changes, follow_run, place_in
from perenne.http_uploads import is_large
from perenne.ids import new_id
from perenne.messages import commands
from perenne.messages.commands import DocumentAdded, MessagePosted
from perenne.messages.health import TreeStatus
from perenne.messages.models import ModelState
from perenne.messages.records import (
    Change,
    Changes,
    Conversation,
    Document,
    DocumentText,
    Job,
    JobKind,
    Key,
    Message,
    Page,
    Project,
    Run,
    RunEvent,
    RunOptions,
    Scope,
    Watch,
    WatchState,
)
from perenne.messages.search import Filters, SearchRequest, SearchResponse
from perenne.messages.uploads import Upload, command_of
from perenne.store import Store

OWNER = commands.OWNER
_ABORT_S = 2.0  # dropping an upload that failed
_HOST_S = 10.0
_BLOB_DEADLINE_S = 60.0  # one piece of an upload, through a restart of its owner


class ActorPerenne(Perenne):
    """See `Perenne`. `user_id` is on whose behalf everything is done."""

    def __init__(self, directory: Directory, *, pc: str = "pc1", readers: int = 1, user_id: str = OWNER) -> None:
        self._directory, self._user, self._blobs = directory, user_id, names.blob_store(pc)
        self._store = Store(directory, readers)

    async def close(self) -> None:
        """Nothing is held."""

    def _ids(self) -> dict[str, str]:
        return {"command_id": new_id("cmd"), "user_id": self._user}

    async def _project_id(self, project: str | None) -> str | None:
        return None if project is None else (await self.project(project)).id

    # Projects

    async def projects(self) -> tuple[Project, ...]:
        found: list[Project] = []
        after: str | None = None
        while True:
            page: Page[Project] = await self._store.read("projects", user_id=self._user, limit=500, after=after)
            found.extend(page.items)
            if page.next is None:
                return tuple(found)
            after = page.next

    async def project(self, project: str) -> Project:
        return await self._store.read("project", user_id=self._user, project=project)

    async def create_project(self, name: str) -> Project:
        return await self._store.write(commands.CreateProject(**self._ids(), project_id=new_id("prj"), name=name))

    async def rename_project(self, project: str, name: str) -> Project:
        found = await self.project(project)
        return await self._store.write(commands.RenameProject(**self._ids(), project_id=found.id, name=name))

    async def delete_project(self, project: str) -> None:
        found = await self.project(project)
        await self._store.write(commands.DeleteProject(**self._ids(), project_id=found.id))

    # Documents and jobs

    async def _blob(self, method: str, **arguments: Any) -> Any:
        """One call to the owner of files, again while it restarts: its calls are harmless twice."""
        deadline = time.monotonic() + _BLOB_DEADLINE_S
        while True:
            try:
                return await self._directory.call(self._blobs, method, timeout_s=30.0, **arguments)
            except (Unavailable, DeadlineExceeded):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def _upload(self, path: Path, on_progress: Progress | None) -> tuple[str, int]:
        size = (await asyncio.to_thread(path.stat)).st_size
        digest = hashlib.sha256()
        sent = 0
        with await asyncio.to_thread(path.open, "rb") as file:
            upload_id = await self._blob("begin")
            try:
                while piece := await asyncio.to_thread(file.read, names.BLOB_PIECE_BYTES):
                    digest.update(piece)
                    await self._blob("append", upload_id=upload_id, offset=sent, data=piece)
                    sent += len(piece)
                    if on_progress is not None:
                        on_progress(sent, size)
                return await self._blob("commit", upload_id=upload_id, expected_hash=digest.hexdigest())
            except BaseException:  # it would hold one of a bounded number of places for a day
                with contextlib.suppress(PerenneError):
                    await self._directory.call(self._blobs, "abort", timeout_s=_ABORT_S, upload_id=upload_id)
                raise

    async def _whole(
        self,
        path: Path,
        project: str,
        on_progress: Progress | None,
        kind: JobKind,
        title: str | None = None,
        external_id: str | None = None,
    ) -> Upload:
        """The file, on disk under its hash; a large one goes on where an earlier call was cut."""
        found = await self.project(project)
        if await is_large(path):
            return await KeptUpload(path, self._user, found.id, self._blob, on_progress).send(kind, title, external_id)
        blob_hash, size = await self._upload(path, on_progress)
        return Upload(
            id=new_id("upl"),
            user_id=self._user,
            project_id=found.id,
            length=size,
            offset=size,
            filename=path.name,
            title=title or path.name,
            created_at=time.time(),
            external_id=external_id,
            blob_hash=blob_hash,
            kind=kind,
        )

    async def _keep_password(self, job_id: str, password: str) -> None:
        """It stays in the memory of the ingest host, until the job ends or the host restarts."""
        await self._directory.call(names.INGEST_HOST, "keep_password", timeout_s=_HOST_S, job_id=job_id, password=password)

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
        upload = await self._whole(path, project, on_progress, "document", title, external_id)
        if password:
            await self._keep_password(upload.job_id, password)
        return await self._store.write(command_of(upload))

    async def add_jsonl(self, path: Path, project: str, *, on_progress: Progress | None = None) -> Job:
        return await self._store.write(command_of(await self._whole(path, project, on_progress, "jsonl")))

    async def documents(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Document]:
        return await self._store.read(
            "documents", user_id=self._user, project_id=await self._project_id(project), state=None, limit=limit, after=after
        )

    async def document(self, document_id: str) -> Document:
        return await self._store.read("document", user_id=self._user, document_id=document_id)

    async def document_text(self, document_id: str, start: int = 0, end: int | None = None) -> DocumentText:
        return await self._store.read("document_text", user_id=self._user, document_id=document_id, start=start, end=end)

    async def delete_document(self, document_id: str) -> None:
        await self._store.write(commands.DeleteDocument(**self._ids(), document_id=document_id))

    async def jobs(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Job]:
        return await self._store.read(
            "jobs", user_id=self._user, project_id=await self._project_id(project), states=None, limit=limit, after=after
        )

    async def job(self, job_id: str) -> Job:
        return await self._store.read("job", user_id=self._user, job_id=job_id)

    async def cancel_job(self, job_id: str) -> Job:
        return await self._store.write(commands.CancelJob(**self._ids(), job_id=job_id))

    async def retry_job(self, job_id: str, *, password: str | None = None) -> Job:
        if password:
            await self._keep_password((await self.job(job_id)).id, password)
        return await self._store.write(commands.RetryJob(**self._ids(), job_id=job_id))

    # Watched folders

    async def watches(self) -> tuple[WatchState, ...]:
        rows: tuple[Watch, ...] = await self._store.read("watches", user_id=self._user)
        states: dict[str, WatchState] = await self._directory.call(
            names.INGEST_HOST, "watch_states", timeout_s=_HOST_S, watch_ids=tuple(row.id for row in rows)
        )
        return tuple(states.get(row.id) or WatchState(watch=row) for row in rows)

    async def add_watch(self, path: str, project: str, *, ignore: tuple[str, ...] = ()) -> Watch:
        found = await self.project(project)
        real: str = await self._directory.call(names.INGEST_HOST, "check_folder", timeout_s=_HOST_S, path=path)
        return await self._store.write(
            commands.AddWatch(**self._ids(), watch_id=new_id("wat"), project_id=found.id, path=real, ignore=ignore)
        )

    async def remove_watch(self, watch_id: str) -> None:
        await self._store.write(commands.RemoveWatch(**self._ids(), watch_id=watch_id))

    # Search and answers

    async def search(
        self, query: str, project: str | None = None, *, k: int = 10, filters: Filters | None = None
    ) -> SearchResponse:
        request = SearchRequest(
            user_id=self._user, query=query, project_id=await self._project_id(project), k=k, filters=filters or Filters()
        )
        return await self._directory.call(names.RUN_HOST, "search", timeout_s=10.0, request=request)

    async def conversations(
        self, project: str | None = None, *, limit: int = 50, after: str | None = None
    ) -> Page[Conversation]:
        return await self._store.read(
            "conversations", user_id=self._user, project_id=await self._project_id(project), limit=limit, after=after
        )

    async def messages(
        self, conversation_id: str, *, leaf: str | None = None, limit: int = 200, after: str | None = None
    ) -> Page[Message]:
        return await self._store.read(
            "messages", user_id=self._user, conversation_id=conversation_id, limit=limit, after=after, leaf_id=leaf
        )

    async def choose(self, message_id: str) -> Conversation:
        return await self._store.write(commands.ChooseBranch(**self._ids(), message_id=message_id))

    async def delete_conversation(self, conversation_id: str) -> None:
        await self._store.write(commands.DeleteConversation(**self._ids(), conversation_id=conversation_id))

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
        posted: MessagePosted = await self._store.write(
            commands.PostMessage(
                **self._ids(),
                conversation_id=conversation_id or new_id("cnv"),
                message_id=new_id("msg"),
                reply_id=new_id("msg"),
                run_id=new_id("run"),
                text=text,
                project_id=await self._project_id(project),
                parent_id=parent,
                edits=edits,
                options=options or RunOptions(),
            )
        )
        await self._nudge(posted.run.id)
        return posted

    async def _nudge(self, run_id: str) -> None:
        """The row is the truth and the host will find it; this only saves the wait."""
        try:
            await self._directory.call(names.RUN_HOST, "start", timeout_s=2.0, run_id=run_id)
        except (Unavailable, DeadlineExceeded):
            return

    async def regenerate(self, message_id: str, *, options: RunOptions | None = None) -> MessagePosted:
        posted: MessagePosted = await self._store.write(
            commands.RegenerateReply(
                **self._ids(),
                message_id=message_id,
                reply_id=new_id("msg"),
                run_id=new_id("run"),
                options=options or RunOptions(),
            )
        )
        await self._nudge(posted.run.id)
        return posted

    async def run(self, run_id: str) -> Run:
        return await self._store.read("run", user_id=self._user, run_id=run_id)

    def events(self, run_id: str, after: int = 0) -> AsyncGenerator[RunEvent]:
        return follow_run(self._directory, self._store, self._user, run_id, after)

    async def stop(self, run_id: str) -> Run:
        run = await self._store.write(commands.StopRun(**self._ids(), run_id=run_id))
        try:
            await self._directory.call(names.RUN_HOST, "stop", timeout_s=2.0, run_id=run_id)
        except (Unavailable, DeadlineExceeded, NotFound):
            return run
        return run

    async def changes(self, after: int | None = None, *, origin: str | None = None) -> AsyncGenerator[Change]:
        while True:
            now: Changes = await self._store.read("changes", user_id=self._user)
            start, complete = place_in(now, after, origin)
            if after is None or not complete:
                yield Change(seq=start, entity="feed", id=now.origin, op="start" if after is None else "reset")
            after, origin = start, now.origin
            try:
                async with contextlib.aclosing(follow_changes(self._directory, self._store, self._user, after)) as changes:
                    async for change in changes:
                        after = change.seq
                        yield change
            except Conflict:  # the feed began anew
                continue

    # The house

    async def status(self) -> TreeStatus:
        return await self._directory.call(names.SUPERVISOR, "status", timeout_s=5.0)

    async def models(self) -> tuple[ModelState, ...]:
        async def state(role: str) -> ModelState | None:
            try:
                return await self._directory.call(role, "state", timeout_s=3.0)
            except PerenneError as error:
                if role == names.RERANKING and isinstance(error, Unavailable):
                    return None  # most instances have none
                return ModelState(role=role, model_id="", phase="failed", detail=str(error))

        states = await asyncio.gather(*(state(role) for role in names.MODELS))
        return tuple(one for one in states if one is not None)

    async def keys(self) -> tuple[Key, ...]:
        return await self._store.read("keys", user_id=self._user)

    async def create_key(
        self, label: str, scopes: Sequence[Scope] = ("read", "write"), *, project: str | None = None, days: float | None = None
    ) -> tuple[Key, str]:
        secret = "pk_" + secrets.token_urlsafe(32)
        key = await self._store.write(
            commands.CreateKey(
                **self._ids(),
                key_id=new_id("key"),
                for_user_id=self._user,
                key_hash=hashlib.sha256(secret.encode()).hexdigest(),
                label=label,
                scopes=tuple(scopes),
                project_id=await self._project_id(project),
                expires_at=None if days is None else time.time() + days * 86_400.0,
            )
        )
        return key, secret

    async def revoke_key(self, key_id: str) -> Key:
        return await self._store.write(commands.RevokeKey(**self._ids(), key_id=key_id))
