"""A house for the edge's tests: the real store and files in a folder, a run host that answers as it is told, uvicorn before it."""

import asyncio
import contextlib
import hashlib
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from actors.blobs.actor import BlobStore
from actors.store.actor import StoreReader, StoreWriter
from actors.store.database import sqlite_path, writing_engine
from actors.store.migrate import migrate
from perenne import names
from perenne.errors import InvalidRequest, NotFound
from perenne.ids import new_id
from perenne.messages.alerts import Trial
from perenne.messages.backups import Backup, Schedule
from perenne.messages.commands import (
    AppendRunEvents,
    CloseRun,
    Command,
    CreateKey,
    CreateProject,
    CreateUser,
    RevokeKey,
    StartAttempt,
)
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.messages.health import ChildStatus, Go, TreeStatus
from perenne.messages.records import Citation, RunEvent, Usage, WatchState
from perenne.messages.search import Hit, SearchRequest, SearchResponse
from perenne.settings import ModelSettings, Settings
from perenne.store import Store
from perenne.testing import FakeDirectory, FakeEmbedder, FakeLanguage, eventually
from serve.http import build_app
from tests.unit.store import store_house

CITATION = Citation(
    number=1,
    document_id="doc_1",
    chunk_id=7,
    title="Lights",
    start=10,
    end=40,
    quote="built in 1863",
    answer_start=0,
    answer_end=22,
)
HIT = Hit(chunk_id=7, document_id="doc_1", title="Lights", text="It was built in 1863.", start=10, end=40, score=0.9, page=2)

BACKUP = Backup(
    id="20261126T083000123Z-0a1b2c3d", created_at=1_795_681_800.0, kind="sqlite", revision="0009", origin="o", seq=12, documents=3,
    passages=7, files=6, size_bytes=2_000_000, new_bytes=40_000,
)  # fmt: skip


class Keeping:
    """A keeper of backups that has one, and begins whatever it is told to."""

    async def backups(self) -> tuple[Backup, ...]:
        return (BACKUP,)

    async def begin(self, what: str, backup_id: str | None = None) -> Schedule:
        if backup_id not in (None, BACKUP.id):
            raise NotFound("backup", str(backup_id))
        return Schedule(name=what, cron="0 * * * *", running_since=1_795_681_800.0)

    async def schedules(self) -> tuple[Schedule, ...]:
        return (Schedule(name="backup", cron="0 * * * *", next_at=1_795_685_400.0),)


class Notifying:
    """A sender of messages over one channel, whose sink takes all but what it was told to refuse."""

    def __init__(self) -> None:
        self.woken = 0
        self.refuses = ""

    async def wake(self) -> None:
        self.woken += 1

    async def try_channel(self, channel_id: str) -> Trial:
        if channel_id != "chn_1":
            raise NotFound("channel", channel_id)
        return Trial(
            channel_id=channel_id, ok=not self.refuses, words=self.refuses or "taken", status=503 if self.refuses else 200
        )


class Answering:
    """A run host that answers every run with `text`, word by word, through the real store. `gate` holds it after `hold_after`
    words; `restart_after` makes it begin again once."""

    def __init__(self, store: Store, text: str = "It was built in 1863.") -> None:
        self.store, self.text = store, text
        self.hold_after: int | None = None
        self.restart_after: int | None = None
        self.gate = asyncio.Event()
        self.stopped: list[str] = []
        self.started: list[str] = []
        self.requests: list[SearchRequest] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, run_id: str) -> None:
        if run_id not in self.started:
            self.started.append(run_id)
            task = asyncio.create_task(self._answer(run_id))
            self._tasks.add(task)

    async def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    async def search(self, request: SearchRequest) -> SearchResponse:
        self.requests.append(request)
        return SearchResponse(hits=(HIT,))

    async def _append(self, run_id: str, *events: NewEvent, close: CloseRun | None = None) -> None:
        command = AppendRunEvents(
            command_id=new_id("cmd"), user_id="system", run_id=run_id, host="h", events=EventBatch.of(events), close=close
        )
        await self.store.write(command)

    async def _answer(self, run_id: str) -> None:
        await self.store.write(StartAttempt(command_id=new_id("cmd"), user_id="system", run_id=run_id, host="h"))
        hit = {"chunk_id": 7, "document_id": "doc_1", "title": "Lights", "text": HIT.text, "start": 10, "end": 40, "score": 0.9}
        await self._append(
            run_id, NewEvent(kind="step", data={"name": "rewrite"}), NewEvent(kind="sources", data={"hits": [hit]})
        )
        words = [w if n == 0 else f" {w}" for n, w in enumerate(self.text.split())]
        for n, word in enumerate(words):
            if n == self.hold_after:
                await self.gate.wait()
            if n == self.restart_after:
                self.restart_after = None
                await self._append(run_id, NewEvent(kind="restarted", data={"attempt": 2, "reason": "the host died"}))
                for again in words[:n]:
                    await self._append(run_id, NewEvent(kind="delta", data={"text": again}))
            await self._append(run_id, NewEvent(kind="delta", data={"text": word}))
        usage = {"prompt_tokens": 5, "completion_tokens": len(words), "cached_tokens": 0}
        cited = {name: getattr(CITATION, name) for name in Citation.__slots__}
        done = {
            "state": "done",
            "finish_reason": "stop",
            "text": self.text,
            "usage": usage,
            "citations": [cited],
            "grounded": True,
        }
        close = CloseRun(state="done", text=self.text, citations=(CITATION,), usage=Usage(**usage))
        await self._append(run_id, NewEvent(kind="done", data=done), close=close)

    async def follow(self, run_id: str, user_id: str, after: int) -> AsyncIterator[RunEvent]:
        await self.store.read("run", user_id=user_id, run_id=run_id)
        last = after
        while True:
            for event in await self.store.read("run_events", user_id=user_id, run_id=run_id, after=last, limit=100):
                last = event.seq
                yield event
                if event.kind in ("done", "error"):
                    return
            yield RunEvent(run_id=run_id, seq=last, kind="heartbeat", data={})
            await asyncio.sleep(0.02)


class Tree:
    """A supervisor that is content, or is not."""

    ready = True

    async def go(self, child: str, pid: int) -> Go:
        return Go(decision="go")

    async def status(self) -> TreeStatus:
        child = ChildStatus(name="StoreWriter", state="ready" if self.ready else "held")
        return TreeStatus(ready=self.ready, children=(child,), reasons=() if self.ready else ("StoreWriter is held",))


class Ingest:
    woken = 0

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}

    async def wake(self) -> None:
        self.woken += 1

    async def keep_password(self, job_id: str, password: str) -> None:
        self.passwords[job_id] = password

    async def check_folder(self, path: str) -> str:
        if not path.startswith("/"):
            raise InvalidRequest("expected a whole path from the root", "path")
        return path

    async def look_at_watches(self) -> None:
        self.woken += 1

    async def watch_states(self, watch_ids: tuple[str, ...]) -> dict[str, WatchState]:
        return {}


@dataclass
class House:
    """Everything, up. Keys by what they may do."""

    settings: Settings
    directory: FakeDirectory
    store: Store
    runs: Answering
    tree: Tree
    language: FakeLanguage
    embedder: FakeEmbedder
    ingest: Ingest
    notifier: Notifying
    address: str = ""
    app: Any = None
    server: uvicorn.Server | None = None
    projects: dict[str, str] = field(default_factory=dict)

    def http(self, key: str | None = "owner", **more: Any) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {secret(key)}"}
        return httpx.AsyncClient(base_url=self.address, headers=headers, timeout=20, **more)

    def at_rest(self) -> bool:
        """No request is being answered, also none whose client is gone, and what one left to be done is done."""
        assert self.server is not None
        return not self.server.server_state.tasks and not self.app.state.edge._errands


def secret(label: str) -> str:
    return f"pk_{label}"


def _key(label: str, user_id: str, scopes: tuple[str, ...], project_id: str | None = None) -> CreateKey:
    return CreateKey(
        command_id=new_id("cmd"),
        user_id="system",
        key_id=f"key_{label}",
        for_user_id=user_id,
        key_hash=hashlib.sha256(secret(label).encode()).hexdigest(),
        label=label,
        scopes=scopes,  # type: ignore[arg-type]
        project_id=project_id,
    )


async def make_key(store: Store, label: str, user_id: str, scopes: tuple[str, ...], project_id: str | None = None) -> str:
    return (await store.write(_key(label, user_id, scopes, project_id))).id


async def _furnish(house: House) -> None:
    """All in one transaction: a flush to disk for each would be most of what a house takes."""
    house.projects = {user: new_id("prj") for user in ("owner", "other")}
    everything = ("read", "write", "admin")
    commands: list[Command] = []
    for user, project_id in house.projects.items():
        commands.append(CreateUser(command_id=new_id("cmd"), user_id="system", new_user_id=user, name=user))
        commands.append(CreateProject(command_id=new_id("cmd"), user_id=user, project_id=project_id, name="default"))
    commands += (
        _key("owner", "owner", everything),
        _key("other", "other", everything),
        _key("reader", "owner", ("read",)),
        _key("writer", "owner", ("write",)),
        _key("bound", "owner", everything, house.projects["owner"]),
        _key("revoked", "owner", everything),
        RevokeKey(command_id=new_id("cmd"), user_id="owner", key_id="key_revoked"),
    )
    for outcome in await house.store.submit(*commands):
        if outcome.error is not None:
            raise outcome.error


@cache
def _empty_database() -> bytes:
    """SQLite's file after all migrations. Each house begins with a copy: to run them anew would be most of what it takes, and their
    own tests do (tests/unit/store/test_store_migrations.py)."""
    with tempfile.TemporaryDirectory() as home:
        url = store_house.on_sqlite(Path(home))
        migrate(writing_engine(url), None)  # its pool keeps no connection: the log is in the file when this returns
        path = sqlite_path(url)
        assert path is not None
        assert not path.with_name(f"{path.name}-wal").exists()
        return path.read_bytes()


def lay_database(url: str) -> None:
    """An empty database of this version where SQLite's file will be, unless there is one."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(_empty_database())


class Server(uvicorn.Server):
    """uvicorn, which looks ten times a second whether it shall end; this one hears of it at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ended.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks = (ticks + 1) % 864_000
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_in(folder: Path, language: str = "tiny-language", embedding: str = "use-multilingual-q8", **edge: Any) -> Settings:
    return Settings(
        home=str(folder),
        models_dir=str(folder / "models"),
        language=ModelSettings(engine="llama_cpp", model=language),
        embedding=ModelSettings(engine="onnx", model=embedding),
        edge=edge,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def house_in(folder: Path, dist: Path | None = None, **edge: Any) -> AsyncIterator[House]:
    settings = settings_in(folder, **edge)
    directory = FakeDirectory()
    store = Store(directory)
    lay_database(settings.database_url)
    tree, language, embedder, ingest, runs = Tree(), FakeLanguage(), FakeEmbedder(), Ingest(), Answering(store)
    notifier = Notifying()
    directory.put(names.SUPERVISOR, tree)
    writer = StoreWriter(names.STORE_WRITER, settings, directory)
    directory.put(names.STORE_WRITER, writer)
    await eventually(lambda: writer._life.is_ready, within_s=20)
    directory.put(names.store_reader(0), StoreReader(names.store_reader(0), settings, directory))
    directory.put(names.blob_store(settings.pc), BlobStore(names.blob_store(settings.pc), settings, directory))
    directory.put(names.BACKUP_KEEPER, Keeping())
    directory.put(names.RUN_HOST, runs)
    directory.put(names.INGEST_HOST, ingest)
    directory.put(names.NOTIFIER, notifier)
    directory.put(names.LANGUAGE, language)
    directory.put(names.EMBEDDING, embedder)
    house = House(settings, directory, store, runs, tree, language, embedder, ingest, notifier)
    await _furnish(house)
    house.app = build_app(settings, directory, *([dist] if dist else []))
    port = free_port()
    house.server = server = Server(uvicorn.Config(house.app, port=port, log_level="warning", timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, within_s=10)
    house.address = f"http://127.0.0.1:{port}"
    try:
        yield house
    finally:
        server.end()
        await serving
        await writer.close()
