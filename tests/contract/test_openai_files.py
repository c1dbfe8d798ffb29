"""Files and vector stores, with the stock `openai` package: they are documents and projects, on disk before the answer."""

from pathlib import Path
from typing import Any

import openai
import pytest

from perenne.ids import new_id
from perenne.messages.commands import FinishJob, IndexedDocument, LeaseJobs, NewChunk, StoreDocuments
from tests.contract.edge_house import HIT, House, secret


def client_of(house: House, key: str = "owner") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{house.address}/v1", api_key=secret(key), max_retries=0)


async def send(client: openai.AsyncOpenAI, text: str) -> str:
    sent = await client.files.create(file=(f"{text}.txt", text.encode(), "text/plain"), purpose="assistants")
    return sent.id


def on_disk(house: House, data: bytes) -> int:
    """How many files of the house hold exactly this."""
    return sum(path.is_file() and path.read_bytes() == data for path in Path(house.settings.home).rglob("*"))


async def index(house: House, refuse: frozenset[str] = frozenset()) -> None:
    """What the ingest host does with the jobs that wait."""
    lease = LeaseJobs(command_id=new_id("cmd"), user_id="system", worker="w", limit=20, lease_s=60)
    for job in await house.store.write(lease):
        held = {"user_id": "system", "job_id": job.id, "lease_token": job.lease_token}
        if job.document_id in refuse:
            end = FinishJob(command_id=new_id("cmd"), **held, state="refused", reason="it is no text")
            await house.store.write(end)
            continue
        text = f"the text of {job.filename}"
        chunk = NewChunk(ordinal=0, text=text, start=0, end=len(text))
        document = IndexedDocument(document_id=job.document_id, title="t", text=text, chunks=(chunk,), vectors=b"")
        stored = {"lease_s": 60, "project_id": job.project_id, "space": "s", "documents": (document,)}
        await house.store.write(StoreDocuments(command_id=new_id("cmd"), **held, **stored))
        await house.store.write(FinishJob(command_id=new_id("cmd"), **held, state="done"))


async def test_a_file_is_a_document_that_is_on_disk_before_the_answer(house: House, client: openai.AsyncOpenAI) -> None:
    sent = await client.files.create(file=("lights.txt", b"built in 1863", "text/plain"), purpose="user_data")
    assert (sent.object, sent.bytes, sent.filename, sent.status) == ("file", 13, "lights.txt", "uploaded")
    assert house.ingest.woken == 1
    assert on_disk(house, b"built in 1863") == 1
    async with house.http() as http:
        document = (await http.get(f"/api/documents/{sent.id}")).json()
    assert document["project_ids"] == [house.projects["owner"]]
    assert (await client.files.content(sent.id)).content == b"built in 1863"
    await index(house)
    assert (await client.files.retrieve(sent.id)).status == "processed"
    assert (await client.files.delete(sent.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(sent.id)


async def test_files_are_listed_page_by_page_in_both_orders(client: openai.AsyncOpenAI) -> None:
    sent = [await send(client, f"text {n}") for n in range(5)]
    assert [file.id async for file in client.files.list(limit=2)] == sent[::-1]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == sent
    page = await client.files.list(limit=2)
    assert page.has_more
    assert [file.id for file in page.data] == sent[:-3:-1]
    assert [file.id async for file in client.files.list(purpose="batch")] == []


async def test_a_file_in_a_vector_store_has_the_state_of_its_document(house: House, client: openai.AsyncOpenAI) -> None:
    good, bad = await send(client, "good"), await send(client, "bad")
    store = await client.vector_stores.create(name="letters", file_ids=[good])
    assert (store.name, store.status, store.file_counts.in_progress) == ("letters", "in_progress", 1)
    added = await client.vector_stores.files.create(vector_store_id=store.id, file_id=bad)
    assert added.status == "in_progress"
    await index(house, refuse=frozenset({bad}))
    files = {file.id: file async for file in client.vector_stores.files.list(store.id)}
    assert (files[good].status, files[good].last_error) == ("completed", None)
    assert files[bad].status == "failed"
    assert files[bad].last_error is not None
    assert (files[bad].last_error.code, files[bad].last_error.message) == ("unsupported_file", "it is no text")
    assert [file.id async for file in client.vector_stores.files.list(store.id, filter="failed")] == [bad]
    store = await client.vector_stores.retrieve(store.id)
    assert (store.status, store.usage_bytes) == ("completed", len("good") + len("bad"))
    assert (store.file_counts.completed, store.file_counts.failed, store.file_counts.total) == (1, 1, 2)
    content = await client.vector_stores.files.content(file_id=good, vector_store_id=store.id)
    assert [part.text async for part in content] == ["the text of good.txt"]
    assert (await client.vector_stores.files.delete(good, vector_store_id=store.id)).deleted
    assert (await client.files.retrieve(good)).id == good
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.files.retrieve(good, vector_store_id=store.id)


async def test_a_batch_tells_how_far_its_files_are(house: House, client: openai.AsyncOpenAI) -> None:
    sent = [await send(client, f"text {n}") for n in range(3)]
    store = await client.vector_stores.create(name="letters")
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=sent)
    assert (batch.status, batch.file_counts.in_progress) == ("in_progress", 3)
    with pytest.raises(openai.ConflictError, match="job"):
        await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    await index(house, refuse=frozenset({sent[1]}))
    batch = await client.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id)
    assert (batch.status, batch.file_counts.completed, batch.file_counts.failed) == ("completed", 2, 1)
    listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, order="asc", limit=2)
    assert [file.id async for file in listed] == sent
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.file_batches.retrieve("vsfb_made_up", vector_store_id=store.id)


async def test_vector_stores_are_projects(house: House, client: openai.AsyncOpenAI) -> None:
    first = await client.vector_stores.create(name="first")
    second = await client.vector_stores.create()
    assert second.name
    listed = [store.id async for store in client.vector_stores.list(limit=1)]
    assert listed == [second.id, first.id, house.projects["owner"]]
    assert [store.id async for store in client.vector_stores.list(limit=2, order="asc")] == listed[::-1]
    assert [store.id for store in (await client.vector_stores.list(before=first.id)).data] == [second.id]
    assert (await client.vector_stores.update(first.id, name="letters")).name == "letters"
    with pytest.raises(openai.ConflictError):
        await client.vector_stores.create(name="letters")
    answer = await client.chat.completions.create(model="perenne:letters", messages=[{"role": "user", "content": "When?"}])
    assert answer.choices[0].message.content == "It was built in 1863."
    assert (await client.vector_stores.delete(first.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.retrieve(first.id)


async def test_a_vector_store_is_searched(house: House, client: openai.AsyncOpenAI) -> None:
    store = house.projects["owner"]
    found = await client.vector_stores.search(store, query="lighthouse", max_num_results=3)
    hit = found.data[0]
    assert (hit.file_id, hit.filename, hit.score, hit.content[0].text) == ("doc_1", "Lights", 0.9, HIT.text)
    assert (house.runs.requests[0].project_id, house.runs.requests[0].k) == (store, 3)
    none = await client.vector_stores.search(store, query="lighthouse", ranking_options={"score_threshold": 0.95})
    assert none.data == []


async def test_a_key_of_one_project_sends_there_and_sees_nothing_else(house: House, client: openai.AsyncOpenAI) -> None:
    other = await client.vector_stores.create(name="other")
    async with client_of(house, "bound") as bound, client_of(house, "reader") as reader:
        sent = await send(bound, "mine")
        assert [store.id async for store in bound.vector_stores.list()] == [house.projects["owner"]]
        with pytest.raises(openai.NotFoundError):
            await bound.vector_stores.retrieve(other.id)
        with pytest.raises(openai.PermissionDeniedError):
            await bound.vector_stores.files.create(house.projects["owner"], file_id=sent)
        with pytest.raises(openai.PermissionDeniedError):
            await bound.vector_stores.create(name="new")
        with pytest.raises(openai.PermissionDeniedError):
            await send(reader, "theirs")
        assert (await reader.files.retrieve(sent)).id == sent
    async with client_of(house, "other") as stranger:
        with pytest.raises(openai.NotFoundError):
            await stranger.files.retrieve(sent)
        with pytest.raises(openai.NotFoundError):
            await stranger.vector_stores.files.list(other.id)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("metadata", {"metadata": {"a": "b"}}),
        ("expires_after", {"expires_after": {"anchor": "last_active_at", "days": 1}}),
        ("chunking_strategy", {"chunking_strategy": {"type": "static", "static": {}}}),
    ],
)
async def test_what_nothing_would_keep_is_refused(client: openai.AsyncOpenAI, field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.vector_stores.create(name="letters", **asked)
    assert refused.value.param == field
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await client.files.create(file=b"x", purpose="batch")
