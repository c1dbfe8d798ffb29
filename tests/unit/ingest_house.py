"""A house for the tests of ingest: the real store over a temporary folder, a folder of blobs, an embedder, and one host."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from actors.ingest.host import Host
from actors.ingest.passwords import Passwords
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.errors import NotFound
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.messages.records import Job
from perenne.settings import IngestSettings, ModelSettings, Settings
from perenne.store import Store
from perenne.testing import FakeDirectory, FakeEmbedder, eventually

OWNER = "owner"
PROJECT = "prj_one"
ENDS = ("done", "refused", "failed", "cancelled")


class Blobs:
    """Files by hash in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    async def begin(self) -> str:
        upload_id = new_id("upl")
        (self.folder / upload_id).touch()
        return upload_id

    async def append(self, upload_id: str, offset: int, data: bytes) -> int:
        with (self.folder / upload_id).open("r+b") as file:
            file.seek(offset)
            file.write(data)
            return file.tell()

    async def commit(self, upload_id: str, expected_hash: str | None = None) -> tuple[str, int]:
        content = (self.folder / upload_id).read_bytes()
        (self.folder / upload_id).unlink()
        return self.put(content), len(content)

    async def path(self, hash: str) -> str:
        if not (self.folder / hash).exists():
            raise NotFound("blob", hash)
        return str(self.folder / hash)


class House:
    """Everything that a host talks to, and the host; `start` and `crash` as often as a test likes."""

    def __init__(self, home: Path, **ingest: Any) -> None:
        model = ModelSettings(engine="onnx", model="space-of-tests")
        self.settings = Settings(
            home=str(home),
            models_dir=str(home / "models"),
            language=model,
            embedding=model,
            ingest=IngestSettings(**({"lease_s": 3.0, "wall_s_max": 60.0} | ingest)),
        )
        self.directory = FakeDirectory()
        self.blobs = Blobs(home / "blobs")
        self.embedder = FakeEmbedder(dimension=8, space="space-of-tests")
        self.directory.put(names.blob_store("pc1"), self.blobs)
        self.directory.put(names.EMBEDDING, self.embedder)
        self.writer = StoreWriter(names.STORE_WRITER, self.settings, self.directory)
        self.directory.put(names.STORE_WRITER, self.writer)
        self.reader: StoreReader | None = None
        self.store = Store(self.directory)
        self.host: Host | None = None
        self._task: asyncio.Task[None] | None = None

    async def found(self) -> None:
        """The readers once there is a database, a user and a project."""
        await self.writer.epoch()
        self.reader = StoreReader(names.store_reader(0), self.settings, self.directory)
        self.directory.put(names.store_reader(0), self.reader)
        await self.write(c.CreateUser(command_id=new_id("cmd"), user_id=c.SYSTEM_USER, new_user_id=OWNER, name="Owner"))
        await self.write(c.CreateProject(command_id=new_id("cmd"), user_id=OWNER, project_id=PROJECT, name="one"))

    async def write(self, command: c.Command) -> Any:
        return await self.store.write(command)

    def start(self) -> None:
        """A host begins to work."""
        self.passwords = Passwords()
        self.host = Host(names.INGEST_HOST, self.settings, self.directory, self.passwords)
        self._task = asyncio.create_task(self.host.run())

    async def crash(self) -> None:
        """The host is gone in the middle of what it does; its leases stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def close(self) -> None:
        await self.crash()
        for shell in (self.reader, self.writer):
            if shell is not None:
                await shell.close()

    async def add(self, content: bytes, filename: str, **more: Any) -> Job:
        """A file as a user adds it; -> its job."""
        added = await self.write(
            c.AddDocument(
                command_id=new_id("cmd"),
                user_id=OWNER,
                document_id=new_id("doc"),
                job_id=new_id("job"),
                project_id=PROJECT,
                title=filename,
                blob_hash=self.blobs.put(content),
                size_bytes=len(content),
                filename=filename,
                **more,
            )
        )
        return added.job

    async def add_lines(self, content: bytes) -> Job:
        return await self.write(
            c.AddJsonLines(
                command_id=new_id("cmd"),
                user_id=OWNER,
                job_id=new_id("job"),
                project_id=PROJECT,
                blob_hash=self.blobs.put(content),
                size_bytes=len(content),
            )
        )

    async def job(self, job: Job) -> Job:
        return await self.store.read("job", user_id=OWNER, job_id=job.id)

    async def ended(self, job: Job, within_s: float = 45.0) -> Job:
        """The job at its end."""

        async def check() -> Job | None:
            now = await self.job(job)
            return now if now.state in ENDS else None

        return await eventually(check, within_s)  # type: ignore[return-value]

    async def documents(self) -> list[Any]:
        page = await self.store.read("documents", user_id=OWNER, project_id=PROJECT, state=None, limit=1000, after=None)
        return list(page.items)

    async def text(self, document_id: str) -> str:
        found = await self.store.read("document_text", user_id=OWNER, document_id=document_id, start=0, end=None)
        return found.text


@contextlib.asynccontextmanager
async def house(home: Path, **ingest: Any) -> AsyncIterator[House]:
    """A house with its user and project, closed at the end."""
    made = House(home, **ingest)
    await made.found()
    try:
        yield made
    finally:
        await made.close()
