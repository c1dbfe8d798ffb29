"""The real store, files and shard over one folder: what was acknowledged is found by the very next search."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.blobs.actor import BlobStore
from actors.index.actor import IndexShard
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.errors import NotFound
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.messages.search import ShardHits, ShardQuery
from perenne.settings import ModelSettings, Settings, StoreSettings
from perenne.store import Store
from perenne.testing import FakeDirectory, eventually

SPACE, DIMENSION, OWNER = "space-of-tests", 24, "owner"
SHARD, BLOBS = names.index_shard(SPACE, 0), names.blob_store("pc1")


def vectors(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype("<f4")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class House:
    def __init__(self, home: Path, database_of: Callable[[Path], str]) -> None:
        model = ModelSettings(engine="onnx", model=SPACE)
        store = StoreSettings(url=database_of(home))
        self.settings = Settings(home=str(home), models_dir=str(home / "models"), language=model, embedding=model, store=store)
        self.directory = FakeDirectory()
        self.store = Store(self.directory)
        self.writer = StoreWriter(names.STORE_WRITER, self.settings, self.directory)
        self.directory.put(names.STORE_WRITER, self.writer)
        self.chance = random.Random(1)

    async def found(self) -> None:
        await self.writer.epoch()
        self.reader = StoreReader(names.store_reader(0), self.settings, self.directory)
        self.directory.put(names.store_reader(0), self.reader)
        self.directory.put(BLOBS, BlobStore(BLOBS, self.settings, self.directory))
        await self.write(c.CreateUser, user_id=c.SYSTEM_USER, new_user_id=OWNER, name="Owner")
        for project in ("prj_a", "prj_b"):
            await self.write(c.CreateProject, project_id=project, name=project)
        self.start()

    def start(self) -> None:
        self.shard = IndexShard(SHARD, self.settings, self.directory)
        self.directory.put(SHARD, self.shard)

    async def close(self) -> None:
        await self.shard.close()
        await self.reader.close()
        await self.writer.close()

    async def write(self, kind: Any, **fields: Any) -> Any:
        return await self.store.write(kind(**({"command_id": new_id("cmd"), "user_id": OWNER} | fields)))

    async def blob(self, method: str, **arguments: Any) -> Any:
        return await self.directory.call(BLOBS, method, timeout_s=5.0, **arguments)

    async def add(self, project: str, documents: int, chunks: int = 5) -> list[str]:
        """Documents as an ingest host would add them."""
        upload = await self.blob("begin")
        await self.blob("append", upload_id=upload, offset=0, data=new_id("x").encode())
        blob_hash, size = await self.blob("commit", upload_id=upload)
        job_id = new_id("job")
        await self.write(c.AddJsonLines, job_id=job_id, project_id=project, blob_hash=blob_hash, size_bytes=size)
        leased = {"user_id": c.SYSTEM_USER, "worker": "w", "limit": 1, "lease_s": 60.0}
        (job,) = await self.write(c.LeaseJobs, **leased)
        made = [
            c.IndexedDocument(
                document_id=new_id("doc"),
                title="title",
                text="word " * chunks,
                chunks=tuple(c.NewChunk(ordinal=n, text="word", start=n, end=n + 4, language="en") for n in range(chunks)),
                vectors=vectors(chunks, self.chance.randrange(1 << 30)).tobytes(),
                external_id=new_id("ext"),
            )
            for _ in range(documents)
        ]
        held = {"user_id": c.SYSTEM_USER, "job_id": job.id, "lease_token": job.lease_token}
        await self.write(c.StoreDocuments, **held, lease_s=60.0, project_id=project, space=SPACE, documents=tuple(made))
        await self.write(c.FinishJob, **held, state="done")
        return [each.document_id for each in made]

    async def search(self, project: str, **over: Any) -> ShardHits:
        """The very next search, and that it says what an exact scan of the database says."""
        head = await self.store.read("vector_head", user_id=OWNER, project_id=project)
        query = ShardQuery(
            **({"vector": vectors(1, 7).tobytes(), "k": 50, "user_id": OWNER, "project_ids": (project,)} | over),
            min_seq=head,
            wait_s=2.0,
        )
        found: ShardHits = await self.directory.call(SHARD, "search", timeout_s=10.0, query=query)
        assert found.applied_seq >= head
        scanned = await self.store.read("scan", user_id=query.user_id, space=SPACE, query=query, after_seq=0)
        assert found.ids == scanned.ids
        assert found.scores == pytest.approx(scanned.scores, abs=1e-6)
        return found


@pytest.fixture
async def house(tmp_path: Path, database_of: Callable[[Path], str]) -> AsyncIterator[House]:
    house = House(tmp_path, database_of)
    await house.found()
    yield house
    await house.close()


async def test_what_was_written_linked_or_deleted_is_seen_by_the_next_search(house: House) -> None:
    assert (await house.search("prj_a")).ids == ()
    first = await house.add("prj_a", 3)
    assert len((await house.search("prj_a")).ids) == 15
    await house.add("prj_b", 2)
    assert len((await house.search("prj_b")).ids) == 10
    await house.write(c.LinkDocument, document_id=first[0], project_id="prj_b")
    assert len((await house.search("prj_b")).ids) == 15
    assert len((await house.search("prj_b", document_ids=(first[0],))).ids) == 5
    await house.write(c.UnlinkDocument, document_id=first[0], project_id="prj_a")
    assert len((await house.search("prj_a")).ids) == 10
    assert len((await house.search("prj_b")).ids) == 15
    await house.write(c.DeleteDocument, document_id=first[0])
    assert len((await house.search("prj_b")).ids) == 10
    assert (await house.search("prj_b", user_id="somebody else")).ids == ()


async def test_a_restart_takes_up_the_snapshot_and_what_came_since(house: House) -> None:
    await house.add("prj_a", 4)
    await house.search("prj_a")
    await house.shard.close()
    await house.shard.close()
    added = await house.add("prj_a", 4)
    await house.write(c.DeleteDocument, document_id=added[0])
    house.start()
    assert len((await house.search("prj_a")).ids) == 35


async def test_a_shard_whose_database_was_exchanged_begins_from_nothing_however_far_the_other_is(
    house: House, tmp_path: Path, database_of: Callable[[Path], str]
) -> None:
    await house.add("prj_a", 2)
    await house.search("prj_a")
    await house.shard.close()
    held = await house.shard.applied()
    other = House(tmp_path / "other", database_of)
    await other.found()
    try:
        await other.add("prj_a", 6, chunks=3)
        await other.search("prj_a")
        assert await other.writer.head() > held
        await other.shard.close()
        shutil.rmtree(tmp_path / "other" / "index")
        shutil.copytree(tmp_path / "index", tmp_path / "other" / "index")
        other.start()
        await eventually(lambda: _finds(other, 18))
    finally:
        await other.close()


async def _finds(house: House, count: int) -> bool:
    return len((await house.search("prj_a")).ids) == count


async def test_a_shard_without_its_store_answers_with_what_it_has_and_says_so(house: House) -> None:
    await house.add("prj_a", 2)
    seen = await house.search("prj_a")
    for name in (names.store_reader(0), names.STORE_WRITER):
        house.directory.kill(name)

    async def degraded() -> bool:
        return (await house.shard.health()).status == "degraded"

    await eventually(degraded, within_s=20.0)
    query = ShardQuery(vector=vectors(1, 7).tobytes(), k=50, user_id=OWNER, project_ids=("prj_a",), min_seq=10_000, wait_s=0.05)
    found = await house.shard.search(query=query)
    assert found.ids == seen.ids
    assert found.applied_seq < query.min_seq
    for name in (names.store_reader(0), names.STORE_WRITER):
        house.directory.revive(name)

    async def well() -> bool:
        return (await house.shard.health()).status == "ready"

    await eventually(well, within_s=20.0)
    await house.add("prj_a", 1)
    assert len((await house.search("prj_a")).ids) == 15


async def test_the_health_of_both_tells_what_they_hold(house: House) -> None:
    await house.add("prj_a", 2)
    await house.search("prj_a")
    head = await house.writer.head()

    async def all_applied() -> bool:  # the job's end, which no search waits for, too
        return await house.shard.applied() == head

    await eventually(all_applied)
    health = await house.shard.health()
    assert (health.status, health.figures["vectors"], health.figures["dimension"]) == ("ready", 10, DIMENSION)
    assert health.figures["applied"] == head
    assert (await house.writer.health()).status == "ready"
    await house.writer.close()
    writer = await house.writer.health()
    assert (writer.status, writer.detail) == ("degraded", "nothing writes")
    blobs = await house.blob("health")
    assert (blobs.status, blobs.queue) == ("ready", 0)
    assert blobs.figures["free_bytes"] > 0


async def test_a_file_travels_through_the_shell(house: House) -> None:
    upload = await house.blob("begin")
    assert await house.blob("append", upload_id=upload, offset=0, data=b"bytes") == 5
    blob_hash, size = await house.blob("commit", upload_id=upload, expected_hash=None)
    assert await house.blob("stat", hash=blob_hash) == size == 5
    assert await house.blob("read", hash=blob_hash, offset=1, length=3) == b"yte"
    path = Path(await house.blob("path", hash=blob_hash))
    assert await asyncio.to_thread(path.read_bytes) == b"bytes"
    assert await house.blob("verify", hash=blob_hash)
    assert await house.blob("sweep", kept=frozenset(), grace_s=-1.0) == (0, 1, 5)
    assert await house.blob("stat", hash=blob_hash) is None
    with pytest.raises(NotFound):
        await house.blob("path", hash=blob_hash)
    await house.blob("abort", upload_id=await house.blob("begin"))


async def test_another_number_of_shards_is_built_from_the_database_and_leaves_nothing_of_the_old(house: House) -> None:
    await house.add("prj_a", 12)
    whole = await house.search("prj_a")
    settings = house.settings
    index = settings.path("index", SPACE)
    for count in (3, 1, 2):
        await house.shard.close()
        settings = settings.model_copy(update={"shards": count})
        shards = [IndexShard(names.index_shard(SPACE, n), settings, house.directory) for n in range(count)]
        head = await house.store.read("vector_head", user_id=OWNER, project_id="prj_a")
        query = ShardQuery(
            vector=vectors(1, 7).tobytes(), k=50, user_id=OWNER, project_ids=("prj_a",), min_seq=head, wait_s=5.0
        )
        hits = [await shard.search(query=query) for shard in shards]
        assert all(each.applied_seq >= head for each in hits)
        together = sorted((-s, n) for each in hits for n, s in zip(each.ids, each.scores, strict=True))[:50]
        assert tuple(n for _, n in together) == whole.ids
        assert tuple(-s for s, _ in together) == whole.scores
        for shard in shards:
            await shard.close()
        assert sorted(path.name for path in index.iterdir()) == [str(n) for n in range(count)]
        assert not list(index.glob("*/quarantine"))
