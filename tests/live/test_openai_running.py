"""The stock `openai` package against a running instance: through HAProxy, with real models."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from perenne.testing import eventually
from tests.live.running import RunningInstance, mark_of_run

FREED_WITHIN_S = 1.0  # what the edge promises of a model whose reader left
LONG: list[Any] = [{"role": "user", "content": "Tell me a very long story about a lighthouse, a storm and a cat."}]
LENGTH = {"max_tokens": 400, "temperature": 0.0, "seed": 7}


@pytest.fixture
def openai_client(instance: RunningInstance) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{instance.address}/v1", api_key=instance.key, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
async def openai_async(instance: RunningInstance) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{instance.address}/v1", api_key=instance.key, max_retries=0, timeout=120
    ) as client:
        yield client


@pytest.fixture
def language(instance: RunningInstance) -> str:
    return instance.settings.language.model


@pytest.fixture
async def http(instance: RunningInstance) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with httpx.AsyncClient(base_url=instance.address, headers=headers, timeout=10, trust_env=False) as client:
        yield client


async def queue_of(http: httpx.AsyncClient) -> int:
    """How many the language model works on or lets wait."""
    return next(m["queue"] for m in (await http.get("/api/models")).json() if m["role"] == "language")


async def until_queue(http: httpx.AsyncClient, wanted: int, within_s: float) -> float:
    """Seconds until the language model's line is that long."""
    since = time.monotonic()

    async def look() -> bool:
        return await queue_of(http) == wanted

    await eventually(look, within_s=within_s)
    return time.monotonic() - since


def long_prompt() -> list[Any]:
    """A prompt that no cache has seen: more than a thousand tokens to read before the first word."""
    mark = mark_of_run()
    return [{"role": "user", "content": " ".join(f"{mark[i % 12]}{i}" for i in range(300)) + " Which number was first?"}]


def test_models_are_listed_and_an_unknown_one_is_not_found(openai_client: openai.OpenAI, language: str):
    ids = [model.id for model in openai_client.models.list()]
    assert ids[:2] == ["perenne", "perenne:default"]
    assert {language, "use-multilingual-q8"} <= set(ids)
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        openai_client.models.retrieve("gpt-9")
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        openai_client.chat.completions.create(model="gpt-9", messages=LONG)
    with pytest.raises(openai.AuthenticationError):
        openai_client.with_options(api_key="pk_wrong").models.list()


def test_the_bare_model_says_the_same_whole_and_streamed_and_counts_its_tokens(openai_client: openai.OpenAI, language: str):
    asked: Any = {"model": language, "messages": [{"role": "user", "content": "Name three colours."}], "temperature": 0.0}
    whole = openai_client.chat.completions.create(**asked, max_tokens=24, seed=1)
    text = whole.choices[0].message.content
    assert text
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > 5
    assert 0 < whole.usage.completion_tokens <= 24
    chunks = list(
        openai_client.chat.completions.create(
            **asked, max_tokens=24, seed=1, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert reasons.count(None) == len(reasons) - 1


def test_json_formats_hold_and_a_bare_text_is_written_on(openai_client: openai.OpenAI, language: str):
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "colour", "schema": schema}}
    asked: list[Any] = [{"role": "user", "content": "Name a colour."}]
    said = openai_client.chat.completions.create(model=language, messages=asked, response_format=wanted, max_tokens=60)
    assert json.loads(said.choices[0].message.content or "")["colour"] in {"red", "blue"}
    text = openai_client.completions.create(model=language, prompt="The capital of France is", max_tokens=4, logprobs=1)
    assert text.choices[0].text
    assert text.choices[0].logprobs is not None
    tokens = text.choices[0].logprobs.tokens or []  # as few as the model cares to write: it may end early
    assert "".join(tokens) == text.choices[0].text
    assert 1 <= len(tokens) <= 4


async def test_an_answer_streams_word_by_word_to_the_asynchronous_client(openai_async: openai.AsyncOpenAI, language: str):
    at: list[float] = []
    stream = await openai_async.chat.completions.create(
        model=language, messages=LONG, stream=True, **{**LENGTH, "max_tokens": 60}
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            at.append(time.monotonic())
    assert len(at) > 20
    assert at[-1] - at[0] > 0.05  # no proxy held them back to one piece


async def test_embeddings_are_unit_vectors_that_know_what_is_alike(openai_async: openai.AsyncOpenAI):
    texts = ["The lighthouse was built in 1847.", "El faro se construyó en 1847.", "Add two eggs and stir."]
    got = await openai_async.embeddings.create(model="use-multilingual-q8", input=texts)
    vectors = [row.embedding for row in got.data]
    assert [len(v) for v in vectors] == [512, 512, 512]
    assert sum(x * x for x in vectors[0]) == pytest.approx(1, abs=1e-3)

    def alike(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True))

    assert alike(0, 1) > alike(0, 2) + 0.2
    assert got.usage.prompt_tokens > 5


@pytest.fixture
async def project(http: httpx.AsyncClient, tmp_path: Path) -> str:
    """A project of its own with one indexed document."""
    name = f"lights-{mark_of_run()}"
    (await http.post("/api/projects", json={"name": name})).raise_for_status()
    text = (
        "The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga. Its lamp is seen from 31 miles away.\n"
    )
    files = {"file": ("lights.md", text.encode(), "text/markdown")}
    added = (await http.post(f"/api/projects/{name}/documents", files=files)).json()

    async def indexed() -> bool:
        return (await http.get(f"/api/documents/{added['document']['id']}")).json()["state"] == "indexed"

    await eventually(indexed, within_s=60)
    return name


async def test_an_answer_from_documents_names_its_sources_and_cites_the_passage(
    openai_async: openai.AsyncOpenAI, http: httpx.AsyncClient, project: str
):
    asked: list[Any] = [{"role": "user", "content": "Who built the lighthouse of Cabo Verano?"}]
    stream = await openai_async.chat.completions.create(
        model=f"perenne:{project}", messages=asked, stream=True, temperature=0.0, stream_options={"include_usage": True}
    )
    text, sources, annotations = "", [], []
    sources_first = False
    async for chunk in stream:
        if found := getattr(chunk, "sources", None):
            sources, sources_first = found, text == ""
        if chunk.choices:
            delta: Any = chunk.choices[0].delta
            text += delta.content or ""
            annotations += getattr(delta, "annotations", None) or []
    assert sources_first
    assert "Marta Quiroga" in sources[0]["text"]
    assert text
    assert chunk.usage is not None
    assert chunk.usage.prompt_tokens > 0
    for annotation in annotations:  # the smallest model may decline; what it cites must be there
        cited = annotation["url_citation"]
        passage = (await http.get(cited["url"])).json()
        assert passage["text"] in cited["quote"] or cited["quote"] in passage["text"]
    with pytest.raises(openai.NotFoundError):
        await openai_async.chat.completions.create(model="perenne:nowhere", messages=asked)


async def leave_and_measure(http: httpx.AsyncClient, begin: Callable[[], Any], at: Callable[[Any], Any]) -> tuple[float, float]:
    """Seconds of the whole work, and seconds from leaving until the model is free."""
    await until_queue(http, 0, 30)
    since = time.monotonic()
    await begin()
    whole_s = time.monotonic() - since
    await until_queue(http, 0, 30)
    work = asyncio.create_task(begin())
    await until_queue(http, 1, 10)
    await at(work)
    work.cancel()
    return whole_s, await until_queue(http, 0, 10)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_leaves_mid_answer_frees_the_model(
    openai_async: openai.AsyncOpenAI, http: httpx.AsyncClient, language: str, stream: bool
):
    begun = asyncio.Event()

    async def answer() -> None:
        if not stream:
            await openai_async.chat.completions.create(model=language, messages=LONG, **LENGTH)
            return
        async with await openai_async.chat.completions.create(model=language, messages=LONG, stream=True, **LENGTH) as chunks:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    begun.set()

    async def first_word(_: Any) -> None:
        if stream:
            begun.clear()
            await asyncio.wait_for(begun.wait(), 20)

    whole_s, freed_s = await leave_and_measure(http, answer, first_word)
    assert freed_s < min(FREED_WITHIN_S, whole_s / 2), f"the whole takes {whole_s:.1f} s, it was free after {freed_s:.2f} s"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_leaves_while_the_prompt_is_read_frees_the_model(
    openai_async: openai.AsyncOpenAI, http: httpx.AsyncClient, language: str, stream: bool
):
    async def answer() -> None:
        said: Any = await openai_async.chat.completions.create(
            model=language, messages=long_prompt(), stream=stream, max_tokens=1
        )
        if stream:
            async for _ in said:
                pass

    async def at_once(_: Any) -> None:
        return

    whole_s, freed_s = await leave_and_measure(http, answer, at_once)
    assert freed_s < min(FREED_WITHIN_S, whole_s / 2), f"the prompt takes {whole_s:.1f} s, it was free after {freed_s:.2f} s"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_leaves_an_answer_from_documents_stops_its_run(
    openai_async: openai.AsyncOpenAI, http: httpx.AsyncClient, project: str, stream: bool
):
    asked: list[Any] = [{"role": "user", "content": f"Tell me all about lighthouses, storms and {mark_of_run()}."}]
    work = asyncio.create_task(
        openai_async.chat.completions.create(model=f"perenne:{project}", messages=asked, stream=stream, max_tokens=1500)
    )

    async def open_run() -> dict[str, Any] | None:
        talks = (await http.get("/api/conversations", params={"project": project})).json()["items"]
        if not talks:
            return None
        messages = (await http.get(f"/api/conversations/{talks[0]['id']}/messages")).json()["items"]
        return (await http.get(f"/api/runs/{messages[-1]['run_id']}")).json()

    async def begun() -> bool:
        return await open_run() is not None

    await eventually(begun, within_s=10)
    if stream:
        await (await asyncio.wait_for(work, 20)).close()
    else:
        work.cancel()

    async def stopped() -> bool:
        run = await open_run()
        return run is not None and run["stop_requested"]

    await eventually(stopped, within_s=FREED_WITHIN_S)
    await until_queue(http, 0, FREED_WITHIN_S)


def test_many_synchronous_clients_at_once_each_get_their_own_answer(instance: RunningInstance, language: str):
    got: dict[int, str] = {}

    def ask(number: int) -> None:
        with openai.OpenAI(base_url=f"{instance.address}/v1", api_key=instance.key, max_retries=5, timeout=120) as client:
            said = client.chat.completions.create(
                model=language, messages=[{"role": "user", "content": f"Say {number}."}], max_tokens=4, temperature=0.0
            )
            got[number] = said.id

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(set(got.values())) == 4


def test_a_tool_that_must_be_called_is_called_in_a_stream_and_whole(openai_client: openai.OpenAI, language: str) -> None:
    properties = {"city": {"type": "string", "enum": ["Brest", "Vigo"]}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    asked: Any = {"model": language, "messages": [{"role": "user", "content": "Hello!"}], "tools": tools, "max_tokens": 200}
    whole = openai_client.chat.completions.create(tool_choice="required", **asked)
    assert whole.choices[0].finish_reason == "tool_calls"
    with openai_client.chat.completions.stream(
        tool_choice={"type": "function", "function": {"name": "weather"}}, **asked
    ) as live:
        streamed = live.get_final_completion()
    for answer in (whole, streamed):
        (call,) = answer.choices[0].message.tool_calls or ()
        assert call.type == "function"
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in ("Brest", "Vigo")
    said = openai_client.responses.create(
        model=language,
        input="Hello!",
        tools=[{"type": "function", "strict": False, **tools[0]["function"]}],
        tool_choice="required",
    )
    assert [item.type for item in said.output] == ["function_call"]
