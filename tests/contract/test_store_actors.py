"""The shells of the store: the same from plain objects and from Ray's actors, by the names that everybody calls."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.client import RayDirectory
from perenne.directory import Directory
from perenne.errors import CommandReused, NotFound
from perenne.line import Line
from perenne.messages import commands as c
from perenne.messages.search import Filters, ShardQuery
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory, eventually
from tests.unit.store.store_house import SPACE, passage, unit


@pytest.fixture(scope="module")
def ray_directory() -> Iterator[Any]:
    """A small Ray of this module's own, and a way to start our actors in it."""
    ray: Any = pytest.importorskip("ray")
    temp = tempfile.mkdtemp(prefix="rst", dir="/tmp")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    ray.init(
        address="local", namespace=names.NAMESPACE, _temp_dir=temp, include_dashboard=False, log_to_driver=False, num_cpus=1
    )

    def start(kind: Any, name: str, settings: Settings) -> Any:
        made = ray.remote(concurrency_groups=kind.CONCURRENCY)(kind)
        return made.options(name=name, num_cpus=0, max_restarts=-1).remote(name, settings, RayDirectory())

    yield start
    ray.shutdown()
    shutil.rmtree(temp, ignore_errors=True)


@pytest.fixture(params=["plain", "ray", "line"])
async def directory(
    request: pytest.FixtureRequest, tmp_path: Path, database_of: Callable[[Path], str]
) -> AsyncIterator[Directory]:
    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_DATABASE_URL": database_of(tmp_path)})
    owners = ((StoreWriter, names.STORE_WRITER), (StoreReader, names.store_reader(0)))
    if request.param == "plain":
        fake = FakeDirectory()
        made = [kind(name, settings, fake) for kind, name in owners]
        for (_, name), owner in zip(owners, made, strict=True):
            fake.put(name, owner)
        yield fake
        for owner in made:
            await owner.close()
        return
    import ray

    start = request.getfixturevalue("ray_directory")
    if request.param == "ray":  # without a folder of the instance there are no lines
        handles = [start(kind, name, settings) for kind, name in owners]
        yield RayDirectory()
    else:
        os.mkdir(settings.ray_dir, 0o700)
        handles = [start(kind, name, settings) for kind, name in owners]
        directory = RayDirectory(settings.ray_dir)
        for _, name in owners:
            await eventually(lambda name=name: _line_of(directory, name), within_s=30)
        yield directory
        shutil.rmtree(settings.ray_dir)
    for handle in handles:
        ray.kill(handle)


async def _line_of(directory: RayDirectory, name: str) -> Line | None:
    """The line to an owner, once there is one."""
    lines = directory._lines
    assert lines is not None
    return await lines.to(name, "submit" if name == names.STORE_WRITER else "projects")


async def test_every_question_has_its_answer_by_its_name(directory: Directory) -> None:
    store = Store(directory)
    numbers = iter(range(1_000))

    async def do(kind: type[c.Command], user_id: str = "owner", **fields: Any) -> Any:
        return await store.write(kind(command_id=f"cmd{next(numbers)}", user_id=user_id, **fields), deadline_s=60.0)

    await do(c.CreateUser, c.SYSTEM_USER, new_user_id="owner", name="Owner")
    await do(c.CreateKey, key_id="k", for_user_id="owner", key_hash="a" * 64, label="first", scopes=("read",))
    await do(c.CreateProject, project_id="p", name="default")
    await do(c.AddJsonLines, job_id="j", project_id="p", blob_hash="b", size_bytes=1)
    (job,) = await do(c.LeaseJobs, c.SYSTEM_USER, worker="w", limit=1, lease_s=30)
    await do(
        c.StoreDocuments,
        c.SYSTEM_USER,
        job_id="j",
        lease_token=job.lease_token,
        lease_s=30,
        project_id="p",
        space=SPACE,
        documents=(passage("a", "hello world", unit(1, 0), language="en"),),
    )
    posted = await do(c.PostMessage, conversation_id="c", message_id="q", reply_id="r", run_id="u", text="why?")
    mine = {"user_id": "owner"}
    paged = {"limit": 10, "after": None}
    assert (await store.read("key_by_hash", key_hash="a" * 64)).id == "k"
    assert [user.id for user in await store.read("users")] == ["owner"]
    assert [key.id for key in await store.read("keys", **mine)] == ["k"]
    assert [each.chunks for each in (await store.read("projects", **mine, **paged)).items] == [1]
    assert (await store.read("project", **mine, project="default")).id == "p"
    assert len((await store.read("documents", **mine, project_id="p", state="indexed", **paged)).items) == 1
    assert (await store.read("document", **mine, document_id="doc-a")).title == "title of a"
    assert (await store.read("document_text", **mine, document_id="doc-a", start=6, end=11)).text == "world"
    assert len((await store.read("jobs", **mine, project_id="p", states=("running",), **paged)).items) == 1
    assert (await store.read("job", **mine, job_id="j")).lease_token is None
    assert [each.id for each in await store.read("open_jobs")] == ["j"]
    assert len((await store.read("conversations", **mine, project_id=None, **paged)).items) == 1
    assert (await store.read("conversation", **mine, conversation_id="c")).title == "why?"
    assert len((await store.read("messages", **mine, conversation_id="c", **paged)).items) == 2
    assert await store.read("run", user_id=None, run_id="u") == posted.run
    assert await store.read("run_events", **mine, run_id="u", after=0, limit=10) == ()
    assert await store.read("open_runs", limit=10) == (posted.run,)
    hits = await store.read("search_text", **mine, project_id="p", query="hello", k=5, filters=Filters())
    assert len(hits.ids) == 1
    assert (await store.read("chunks", **mine, chunk_ids=hits.ids)).chunks[0].text == "hello world"
    assert len((await store.read("neighbours", **mine, chunk_id=hits.ids[0], before=1, after=1)).chunks) == 1
    feed = await store.read("index_feed", space=SPACE, after_seq=0, limit_bytes=1 << 20)
    assert [item.chunk_ids for item in feed.items] == [hits.ids]
    query = ShardQuery(vector=unit(1, 0), k=5, user_id="owner", project_ids=("p",))
    assert (await store.read("scan", **mine, space=SPACE, query=query, after_seq=0)).ids == hits.ids
    assert await store.read("vector_head", **mine, project_id="p") == hits.head_seq == feed.items[-1].seq
    assert (await store.read("counts"))["chunks"] == 1
    for name in (names.STORE_WRITER, names.store_reader(0)):
        health = await directory.call(name, "health", timeout_s=5.0)
        assert (health.name, health.status, health.queue) == (name, "ready", 0)
    assert await directory.call(names.STORE_WRITER, "epoch", timeout_s=5.0) == 1
    with pytest.raises(NotFound):
        await store.read("document", user_id="other", document_id="doc-a")
    with pytest.raises(CommandReused):
        await store.write(c.CreateProject(command_id="cmd0", user_id="owner", project_id="x", name="x"))


async def test_a_follower_hears_of_a_write_at_once_and_of_silence_each_second(directory: Directory) -> None:
    store = Store(directory)
    user = c.CreateUser(command_id="u", user_id=c.SYSTEM_USER, new_user_id="owner", name="Owner")
    (outcome,) = await store.submit(user, deadline_s=60.0)
    heads = directory.stream(names.STORE_WRITER, "follow_head", silence_s=10.0, after=0)
    assert await anext(heads) == outcome.seq
    began = time.monotonic()
    assert await anext(heads) == outcome.seq  # a sign of life
    assert time.monotonic() - began > 0.5 * names.HEARTBEAT_S
    (later,) = await store.submit(c.CreateProject(command_id="p", user_id="owner", project_id="p", name="n"))
    while (head := await anext(heads)) < later.seq:
        pass
    assert head == later.seq == await directory.call(names.STORE_WRITER, "head", timeout_s=5.0)
    await heads.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("directory", ["line"], indirect=True)
async def test_a_reader_that_died_is_asked_through_ray_and_over_its_next_line(directory: RayDirectory) -> None:
    store = Store(directory)
    await store.write(c.CreateUser(command_id="u", user_id=c.SYSTEM_USER, new_user_id="owner", name="Owner"), deadline_s=60.0)
    health = await directory.call(names.store_reader(0), "health", timeout_s=5.0)  # no line answers that
    first = await _line_of(directory, names.store_reader(0))
    assert first is not None
    os.kill(health.pid, signal.SIGKILL)
    assert [user.id for user in await store.read("users", deadline_s=30.0)] == ["owner"]
    assert first.closed
    await eventually(lambda: _line_of(directory, names.store_reader(0)), within_s=20)
    assert [user.id for user in await store.read("users")] == ["owner"]
