"""The run host over the real store, with a model and an embedder that are small real classes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.index.actor import IndexShard
from actors.runs.host import Host
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.errors import PerenneError
from perenne.ids import new_id
from perenne.messages.commands import (
    AddJsonLines,
    CreateProject,
    CreateUser,
    FinishJob,
    IndexedDocument,
    LeaseJobs,
    MessagePosted,
    NewChunk,
    PostMessage,
    StopRun,
    StoreDocuments,
)
from perenne.messages.models import EmbedRequest
from perenne.messages.records import Run, RunEvent, RunOptions
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory, FakeEmbedder, FakeLanguage, eventually

USER = "ana"
TEXTS = {
    "engine": "The steam engine of the mill was built in 1854 by Robert Hale. It drove forty looms until the fire of 1902.",
    "river": "The river Tamar rises on Woolley Moor. Salmon return to it each spring, between March and May.",
    "molino": "El molino de Santa Ana se construyó en 1731. Su dueño fue Tomás Ibarra, un panadero de Burgos.",
}
LANGUAGES = {"engine": "en", "river": "en", "molino": "es"}


class World:
    """One instance without a cluster, whose run host can be killed and started again."""

    def __init__(self, home: Path, shards: int = 1) -> None:
        env = {"PERENNE_HOME": str(home), "PERENNE_MODELS": str(home / "models")}
        self.settings: Settings = load_settings(env).model_copy(update={"shards": shards})
        self.directory = FakeDirectory()
        self.language = FakeLanguage(reply=self._reply)
        self.embedder = FakeEmbedder()
        self.answer = "The steam engine was built by Robert Hale in 1854."
        self.store = Store(self.directory)
        self.project_id = ""
        self.host: Host | None = None
        self._task: asyncio.Task[None] | None = None
        self.parts: list[Any] = []
        space = self.embedder.space
        self.directory.put(names.LANGUAGE, self.language)
        self.directory.put(names.EMBEDDING, self.embedder)
        self._put(names.STORE_WRITER, StoreWriter)
        self.space = space

    def _put(self, name: str, kind: Any) -> None:
        part = kind(name, self.settings, self.directory)
        self.parts.append(part)
        self.directory.put(name, part)

    def _reply(self, request: object) -> str:
        return self.answer

    async def begin(self) -> None:
        await self.store.write(CreateUser(command_id="u", user_id="system", new_user_id=USER, name=USER), 30.0)
        self._put(names.store_reader(0), StoreReader)  # now that there is a database to read
        for n in range(self.settings.shards):
            self._put(names.index_shard(self.space, n), IndexShard)
        made = await self.store.write(CreateProject(command_id="p", user_id=USER, project_id=new_id("prj"), name="docs"))
        self.project_id = made.id
        await self.add(TEXTS, LANGUAGES)
        self.start_host()

    def part(self, name: str) -> Any:
        """The shell that answers to this name."""
        return next(part for part in self.parts if getattr(part, "_name", None) == name)

    async def add(self, texts: dict[str, str], languages: dict[str, str]) -> dict[str, str]:
        """Documents of one passage each; their ids by title."""
        job_id = new_id("job")
        await self.store.write(
            AddJsonLines(
                command_id=new_id("c"),
                user_id=USER,
                job_id=job_id,
                project_id=self.project_id,
                blob_hash="0" * 64,
                size_bytes=1,
            )
        )
        lease = LeaseJobs(command_id=new_id("c"), user_id="system", worker="test", limit=1, lease_s=60.0)
        (job,) = await self.store.write(lease)
        documents: list[IndexedDocument] = []
        for title, text in texts.items():
            found = await self.embedder.embed(EmbedRequest(texts=(text,)))
            chunk = NewChunk(ordinal=0, text=text, start=0, end=len(text), language=languages[title])
            documents.append(
                IndexedDocument(
                    document_id=new_id("doc"), title=title, text=text, chunks=(chunk,), vectors=found.data, external_id=title
                )
            )
        stored = StoreDocuments(
            command_id=new_id("c"),
            user_id="system",
            job_id=job_id,
            lease_token=job.lease_token,
            lease_s=60.0,
            project_id=self.project_id,
            space=self.space,
            documents=tuple(documents),
        )
        await self.store.write(stored)
        await self.store.write(
            FinishJob(command_id=new_id("c"), user_id="system", job_id=job_id, lease_token=job.lease_token, state="done")
        )
        return {document.title: document.document_id for document in documents}

    def start_host(self) -> Host:
        """A fresh incarnation of the run host."""
        self.host = Host(names.RUN_HOST, self.settings, self.directory)
        self.directory.put(names.RUN_HOST, self.host)
        self._task = asyncio.create_task(self.host.run())
        return self.host

    async def kill_host(self) -> None:
        """The host is gone without a word, its runs in the middle."""
        assert self.host is not None
        assert self._task is not None
        self.directory.kill(names.RUN_HOST)
        self._task.cancel()
        await self.host.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def close(self) -> None:
        """The other rooms end too: their threads would go on otherwise."""
        for part in reversed(self.parts):
            await part.close()

    async def post(self, text: str, conversation: str | None = None, **options: object) -> MessagePosted:
        posted: MessagePosted = await self.store.write(
            PostMessage(
                command_id=new_id("c"),
                user_id=USER,
                conversation_id=conversation or new_id("cnv"),
                message_id=new_id("msg"),
                reply_id=new_id("msg"),
                run_id=new_id("run"),
                text=text,
                project_id=self.project_id,
                options=RunOptions(**options),  # type: ignore[arg-type]
            )
        )
        with contextlib.suppress(PerenneError):
            await self.directory.call(names.RUN_HOST, "start", timeout_s=1.0, run_id=posted.run.id)
        return posted

    async def events(self, run_id: str, after: int = 0) -> list[RunEvent]:
        return list(await self.store.read("run_events", user_id=USER, run_id=run_id, after=after, limit=1000))

    async def run(self, run_id: str) -> Run:
        return await self.store.read("run", user_id=USER, run_id=run_id)

    async def ended(self, run_id: str, within_s: float = 10.0) -> list[RunEvent]:
        """All events, once the run is closed."""

        async def closed() -> bool:
            return (await self.run(run_id)).state in ("done", "failed", "stopped")

        await eventually(closed, within_s=within_s)
        return await self.events(run_id)

    async def stop(self, run_id: str) -> None:
        await self.store.write(StopRun(command_id=new_id("c"), user_id=USER, run_id=run_id))
        await self.directory.call(names.RUN_HOST, "stop", timeout_s=1.0, run_id=run_id)


@contextlib.asynccontextmanager
async def living(home: Path, shards: int = 1) -> AsyncIterator[World]:
    made = World(home, shards)
    await made.begin()
    yield made
    await made.kill_host()
    await made.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with living(tmp_path / "home") as made:
        yield made


@pytest.fixture
async def two_shards(tmp_path: Path) -> AsyncIterator[World]:
    async with living(tmp_path / "home", shards=2) as made:
        yield made
