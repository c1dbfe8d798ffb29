"""The client's one interface, over both transports: HTTP with a key, and actor handles beside the instance; async, and waited for."""

import asyncio
import functools
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from perenne.api import Perenne
from perenne.blocking import SyncPerenne
from perenne.client import connect, connect_sync
from perenne.errors import Conflict, InvalidRequest, NotFound, PerenneError, Unauthorized
from perenne.messages.records import RunEvent, RunOptions
from perenne.messages.search import Filters
from perenne.testing import eventually
from tests.live.running import RunningInstance, mark_of_run

TEXT = """# The lighthouse of Cabo Verano

The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga.

Its lamp can be seen from 31 nautical miles away on a clear night.
"""


@contextmanager
def environment_of(instance: RunningInstance) -> Iterator[None]:
    """The instance's environment, and none of another's, in this process."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("PERENNE_", "RAY_"))]:
        del os.environ[name]
    os.environ.update({name: value for name, value in instance.environment.items() if name.startswith("PERENNE_")})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def beside(instance: RunningInstance) -> Iterator[None]:
    """This process may join the instance's Ray; it leaves it afterwards."""
    with environment_of(instance):
        yield
        import ray  # not before `connect` set the environment, which Ray reads when it is imported

        ray.shutdown()


class Waited:
    """The sync client as these tests call a client: each call of it waits in a thread of its own."""

    def __init__(self, client: SyncPerenne) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return self._each(method) if name == "events" else functools.partial(asyncio.to_thread, method)

    @staticmethod
    def _each(method: Any) -> Any:
        async def items(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
            source = method(*args, **kwargs)
            try:
                while (item := await asyncio.to_thread(next, source, None)) is not None:
                    yield item
            finally:
                await asyncio.to_thread(source.close)

        return items


@pytest.fixture(params=["http", "actors", "http-sync", "actors-sync"])
async def client(instance: RunningInstance, beside: None, request: pytest.FixtureRequest) -> AsyncIterator[Perenne]:
    transport, _, sync = request.param.partition("-")
    address = instance.address if transport == "http" else None
    if sync:
        with connect_sync(address, home=str(instance.home)) as waited:
            yield cast("Perenne", Waited(waited))
        return
    async with connect(address, home=str(instance.home)) as client:
        yield client


@pytest.fixture
async def project(client: Perenne) -> str:
    return (await client.create_project(f"p-{mark_of_run()}")).id


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    path = tmp_path / "cabo-verano.md"
    path.write_text(f"{TEXT}\nThis copy bears the mark {mark_of_run()}.\n", encoding="utf-8")
    return path


async def test_projects_are_made_found_renamed_and_deleted(client: Perenne):
    name = f"letters-{mark_of_run()}"
    made = await client.create_project(name)
    assert await client.project(name) == await client.project(made.id) == made
    assert made.id in {p.id for p in await client.projects()}
    with pytest.raises(Conflict):
        await client.create_project(name)
    assert (await client.ensure_project(name)).id == made.id
    renamed = await client.rename_project(name, f"{name}-2")
    assert (renamed.id, renamed.name) == (made.id, f"{name}-2")
    await client.delete_project(made.id)
    with pytest.raises(NotFound):
        await client.project(made.id)


async def test_a_document_is_added_indexed_read_found_and_deleted(client: Perenne, project: str, guide: Path):
    sent: list[tuple[int, int]] = []
    added = await client.add(
        guide, project, title="The light", external_id="ext-1", on_progress=lambda done, total: sent.append((done, total))
    )
    size = len(guide.read_bytes())  # noqa: ASYNC240
    assert sent[-1] == (size, size)
    assert not added.existing
    assert added.job is not None
    job = await client.wait_job(added.job.id, timeout_s=60)
    assert (job.state, job.document_id) == ("done", added.document.id)
    document = await client.document(added.document.id)
    assert (document.state, document.title, document.external_id) == ("indexed", "The light", "ext-1")
    assert document.chunks > 0
    assert [d.id for d in (await client.documents(project)).items] == [document.id]
    assert job.id in {j.id for j in (await client.jobs(project)).items}

    whole = await client.document_text(document.id)
    assert "Marta Quiroga" in whole.text
    part = await client.document_text(document.id, 5, 25)
    assert part.text == whole.text[5:25]

    found = await client.search("Who built the lighthouse?", project, k=3)
    best = found.hits[0]
    assert (best.document_id, best.external_id, best.title) == (document.id, "ext-1", "The light")
    assert best.text == whole.text[best.start : best.end]
    elsewhere = Filters(document_ids=("doc_elsewhere",))
    assert (await client.search("Who built the lighthouse?", project, filters=elsewhere)).hits == ()

    again = await client.add(guide, project, title="The light", external_id="ext-1")
    assert again.document.id == document.id
    await client.delete_document(document.id)
    with pytest.raises(NotFound):
        await client.document(document.id)
    assert (await client.search("Who built the lighthouse?", project)).hits == ()


async def test_json_lines_are_documents_by_their_own_ids(client: Perenne, project: str, tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    rows = [{"id": f"r{i}", "title": f"Row {i}", "text": f"Bridge {i} of Orla is {100 + i} metres long."} for i in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job = await client.wait_job((await client.add_jsonl(path, project)).id, timeout_s=60)
    assert (job.state, job.done) == ("done", job.total)
    assert (await client.search("Bridge 3", project, k=1)).hits[0].external_id == "r3"
    only = await client.search("Bridge", project, filters=Filters(external_ids=("r1", "r2")))
    assert {hit.external_id for hit in only.hits} == {"r1", "r2"}
    first = await client.documents(project, limit=2)
    assert len(first.items) == 2
    rest = await client.documents(project, limit=100, after=first.next)
    assert len({d.id for d in (*first.items, *rest.items)}) == 5


async def test_a_refused_file_says_why_and_its_job_can_be_tried_again(client: Perenne, project: str, tmp_path: Path):
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.7\n" + mark_of_run().encode() * 50)
    added = await client.add(path, project)
    assert added.job is not None
    job = await client.wait_job(added.job.id, timeout_s=60)
    assert job.state in ("refused", "failed")
    assert job.reason
    assert (await client.document(added.document.id)).reason
    again = await client.retry_job(job.id)
    assert again.id == job.id
    assert (await client.wait_job(job.id, timeout_s=60)).state == job.state
    with pytest.raises(NotFound):
        await client.job("job_nowhere")


async def test_a_job_that_is_cancelled_ends_and_is_taken_up_on_request(client: Perenne, project: str, tmp_path: Path):
    path = tmp_path / "many.jsonl"
    mark = mark_of_run()
    with path.open("w", encoding="utf-8") as file:
        for i in range(3000):
            file.write(
                json.dumps({"id": f"{mark}-{i}", "title": f"Line {i}", "text": f"Sentence {i} of {mark} is short."}) + "\n"
            )
    job = await client.add_jsonl(path, project)
    await client.cancel_job(job.id)
    cancelled = await client.wait_job(job.id, timeout_s=30)
    assert cancelled.state == "cancelled"
    again = await client.retry_job(job.id)
    assert again.state in ("queued", "running")
    await client.cancel_job(job.id)
    assert (await client.wait_job(job.id, timeout_s=30)).state == "cancelled"


async def test_a_question_is_answered_with_its_events_in_order(client: Perenne, project: str, guide: Path):
    added = await client.add(guide, project)
    assert added.job is not None
    await client.wait_job(added.job.id, timeout_s=60)
    events: list[RunEvent] = []
    answer = await client.ask(
        "Who built the lighthouse of Cabo Verano?", project, options=RunOptions(max_tokens=60), on_event=events.append
    )
    assert answer.text
    assert answer.state == "done"
    assert [e.seq for e in events] == sorted({e.seq for e in events})
    kinds = [e.kind for e in events]
    assert kinds.index("sources") < kinds.index("delta") < kinds.index("done") == len(kinds) - 1
    assert "Marta Quiroga" in answer.sources[0].text
    for citation in answer.citations:  # the smallest model may decline; what it cites must be there
        passage = await client.document_text(citation.document_id, citation.start, citation.end)
        assert passage.text in citation.quote or citation.quote in passage.text
    run = await client.run(answer.run_id)
    assert (run.state, run.events) == ("done", events[-1].seq)
    middle = events[len(events) // 2].seq
    async with aclosing(client.events(answer.run_id, middle)) as rest:
        assert [event.seq async for event in rest] == [e.seq for e in events if e.seq > middle]

    talk = next(c for c in (await client.conversations(project)).items if c.id == answer.conversation_id)
    assert talk.project_id == project
    first = (await client.messages(talk.id)).items
    assert [(m.role, m.text) for m in first] == [
        ("user", "Who built the lighthouse of Cabo Verano?"),
        ("assistant", answer.text),
    ]
    anew = await client.regenerate(answer.message_id, options=RunOptions(max_tokens=20))
    async with aclosing(client.events(anew.run.id)) as rest:
        assert [event.kind async for event in rest][-1] == "done"
    now = (await client.messages(talk.id)).items
    assert [m.id for m in now] == [first[0].id, anew.reply.id]  # the newest answer stands for the question's
    await client.delete_conversation(talk.id)
    with pytest.raises(NotFound):
        await client.messages(talk.id)


async def test_a_stopped_answer_keeps_what_was_written(client: Perenne):
    posted = await client.post(
        "Tell me a very long story about a lighthouse, a storm and a cat.",
        options=RunOptions(grounded=False, max_tokens=1500, temperature=0.0, seed=7),
    )
    text = ""
    async with aclosing(client.events(posted.run.id)) as events:
        async for event in events:
            if event.kind == "delta":
                text += event.data["text"]
                await client.stop(posted.run.id)
            if event.kind == "done":
                assert event.data["state"] == "stopped"
                assert event.data["text"].startswith(text[:20])
    assert (await client.run(posted.run.id)).state == "stopped"
    reply = (await client.messages(posted.run.conversation_id)).items[-1]
    assert reply.state == "stopped"
    assert reply.text


async def test_a_key_is_made_limited_and_revoked_within_a_second(client: Perenne, instance: RunningInstance, project: str):
    key, secret = await client.create_key(f"k-{mark_of_run()}", ("read",), project=project, days=1)
    assert secret.startswith("pk_")
    assert key.project_id == project
    assert key.id in {k.id for k in await client.keys()}
    async with connect(instance.address, key=secret) as limited:
        assert [p.id for p in await limited.projects()] == [project]
        with pytest.raises(NotFound):
            await limited.project("default")
        with pytest.raises(PerenneError, match="write"):
            await limited.post("Hello?")
        revoked = await client.revoke_key(key.id)
        assert revoked.revoked_at is not None

        async def refused() -> bool:
            try:
                await limited.projects()
            except Unauthorized:
                return True
            return False

        await eventually(refused, within_s=1.0 if instance.settings.edge.replicas == 1 else 1.5)


async def test_the_house_says_how_it_is(client: Perenne, instance: RunningInstance):
    async def ready() -> bool:
        return (await client.status()).ready

    await eventually(ready, within_s=10)
    assert {child.name for child in (await client.status()).children} >= {"StoreWriter", "RunHost", "IngestHost", "edge"}
    models = {model.role: model for model in await client.models()}
    assert models["language"].model_id == instance.settings.language.model
    assert models["embedding"].phase == "ready"


async def test_what_is_not_there_or_not_right_is_the_same_error_either_way(client: Perenne):
    for work in (
        client.project("nowhere"), client.document("doc_nowhere"), client.run("run_nowhere"),
        client.messages("cnv_nowhere"), client.search("x", "nowhere"), client.regenerate("msg_nowhere"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await work
    with pytest.raises(InvalidRequest):
        await client.search("x" * 100_000)


async def test_many_calls_at_once_are_each_answered(client: Perenne, project: str):
    got = await asyncio.gather(*(client.project(project) for _ in range(50)))
    assert {p.id for p in got} == {project}


def test_without_a_key_nothing_is_told(instance: RunningInstance):
    with httpx.Client(base_url=instance.address, trust_env=False, timeout=20) as bare:
        for path in ("/api/projects", "/api/status", "/api/models", "/v1/models"):
            assert bare.get(path).status_code == 401
