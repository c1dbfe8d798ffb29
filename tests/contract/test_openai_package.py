"""The stock `openai` package against the edge."""

import asyncio
import base64
from array import array
from typing import Any

import openai
import pytest

from perenne.testing import eventually
from tests.contract.edge_house import House, secret

ASKED: list[Any] = [{"role": "user", "content": "one two three four"}]


async def test_models_are_listed_by_the_names_that_chats_use(client: openai.AsyncOpenAI) -> None:
    ids = [model.id async for model in client.models.list()]
    assert ids == ["perenne", "perenne:default", "tiny-language", "use-multilingual-q8"]
    assert (await client.models.retrieve("perenne:default")).id == "perenne:default"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_the_bare_model_answers_whole(house: House, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="tiny-language", messages=ASKED, seed=3, temperature=0, stop=["four"])
    assert answer.choices[0].message.content == "one two three "
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    request = house.language.requests[0]
    assert (request.seed, request.temperature, request.stop) == (3, 0, ("four",))
    for limit in ({"max_tokens": 2}, {"max_completion_tokens": 2}):
        short = await client.chat.completions.create(model="tiny-language", messages=ASKED, **limit)
        assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("one two", "length")


async def test_the_bare_model_streams_and_nothing_of_it_is_stored(house: House, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="tiny-language", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three four"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert {c.id for c in chunks} == {chunks[0].id}
    async with house.http() as http:
        assert (await http.get("/api/conversations")).json()["items"] == []


async def test_a_client_that_leaves_stops_the_model_within_a_second(house: House, client: openai.AsyncOpenAI) -> None:
    house.language.reply, house.language.token_s = "word " * 5000, 0.01
    stream = await client.chat.completions.create(model="tiny-language", messages=ASKED, stream=True)
    await anext(aiter(stream))
    assert house.language.running == 1
    await stream.close()
    await eventually(lambda: house.language.running == 0, within_s=1)
    whole = asyncio.create_task(client.chat.completions.create(model="tiny-language", messages=ASKED))
    await eventually(lambda: house.language.running == 1)
    whole.cancel()
    await eventually(lambda: house.language.running == 0, within_s=1)
    assert house.language.closed_early == 2


async def test_an_answer_from_documents_has_citations_as_annotations(house: House, client: openai.AsyncOpenAI) -> None:
    said: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The lighthouse?"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "When was it built?"}]},
    ]
    for model in ("perenne", "perenne:default"):
        answer = await client.chat.completions.create(model=model, messages=said)
        message = answer.choices[0].message
        assert message.content == "It was built in 1863."
        assert message.annotations is not None
        cited = message.annotations[0].url_citation
        assert (cited.title, cited.start_index, cited.end_index) == ("Lights", 0, 22)
        assert cited.url == "/api/documents/doc_1/text?start=10&end=40"
        assert cited.quote == "built in 1863"  # type: ignore[attr-defined]
    async with house.http() as http:
        run = (await http.get(f"/api/runs/{house.runs.started[-1]}")).json()
    assert run["project_id"] == house.projects["owner"]
    assert run["options"]["history"] == [["system", "Be brief."], ["user", "The lighthouse?"], ["assistant", "Yes?"]]
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="perenne:nowhere", messages=said)


async def test_an_answer_from_documents_streams_sources_words_and_annotations(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="perenne", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    kinds: list[str] = []
    text = ""
    async for chunk in stream:
        delta: Any = chunk.choices[0].delta if chunk.choices else None
        if getattr(chunk, "sources", None):
            kinds.append("sources")
        elif delta is not None and delta.content:
            text += delta.content
            kinds.append("words")
        elif delta is not None and getattr(delta, "annotations", None):
            assert delta.annotations[0]["url_citation"]["title"] == "Lights"
            kinds.append("annotations")
    assert text == "It was built in 1863."
    assert kinds == ["sources", *["words"] * 5, "annotations"]


async def test_a_run_that_begins_again_does_not_repeat_itself(house: House, client: openai.AsyncOpenAI) -> None:
    house.runs.restart_after = 3
    stream = await client.chat.completions.create(model="perenne", messages=ASKED, stream=True)
    text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert text == "It was built in 1863."


async def test_leaving_an_answer_from_documents_stops_its_run(house: House, client: openai.AsyncOpenAI) -> None:
    house.runs.hold_after = 1
    stream = await client.chat.completions.create(model="perenne", messages=ASKED, stream=True)
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content == "It":
            break
    await stream.close()
    await eventually(lambda: len(house.runs.stopped) == 1, within_s=1)
    whole = asyncio.create_task(client.chat.completions.create(model="perenne", messages=ASKED))
    await eventually(lambda: len(house.runs.started) == 2)
    whole.cancel()
    await eventually(lambda: len(house.runs.stopped) == 2, within_s=1)
    async with house.http() as http:
        for run_id in house.runs.started:
            assert (await http.get(f"/api/runs/{run_id}")).json()["stop_requested"]
    house.runs.gate.set()


async def test_embeddings_as_floats_and_as_base64_are_the_same(house: House, client: openai.AsyncOpenAI) -> None:
    floats = await client.embeddings.create(model="use-multilingual-q8", input=["a b", "c"], encoding_format="float")
    packed = await client.embeddings.create(model="use-multilingual-q8", input=["a b", "c"])  # the package asks for base64
    assert [len(row.embedding) for row in floats.data] == [512, 512]
    assert packed.data[1].embedding == pytest.approx(floats.data[1].embedding)
    raw: Any = await client.embeddings.with_raw_response.create(
        model="use-multilingual-q8", input="a b", encoding_format="base64"
    )
    packed_text = raw.http_response.json()["data"][0]["embedding"]
    assert array("f", base64.b64decode(packed_text)).tolist() == pytest.approx(house.embedder.vector("a b"))
    assert floats.usage.prompt_tokens == 3
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="use-multilingual-q8", input=[[1, 2, 3]])
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="use-multilingual-q8", input="a", dimensions=64)


async def test_errors_come_in_the_form_that_the_package_knows(house: House, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="gpt-9", messages=ASKED)
    assert missing.value.code == "not_found"
    assert "gpt-9" in missing.value.message
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="tiny-language", messages=ASKED, n=2)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="tiny-language", messages=[])
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="no").models.list()
    house.language.phase, house.language.progress = "downloading", 0.34
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match="34%") as away:
            await client.chat.completions.create(model="tiny-language", messages=ASKED, stream=stream)
        assert away.value.status_code == 503
        assert int(away.value.response.headers["retry-after"]) >= 1


async def test_a_model_that_dies_in_mid_stream_ends_it_with_an_error(house: House, client: openai.AsyncOpenAI) -> None:
    house.language.reply, house.language.token_s = "word " * 500, 0.01
    stream = await client.chat.completions.create(model="tiny-language", messages=ASKED, stream=True)
    await anext(aiter(stream))
    house.directory.kill("language")
    with pytest.raises(openai.APIError, match="unavailable"):
        [chunk async for chunk in stream]


async def test_the_synchronous_client_works_too(house: House) -> None:
    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{house.address}/v1", api_key=secret("owner"), max_retries=0) as client:
            whole = client.chat.completions.create(model="perenne", messages=ASKED)
            stream = client.chat.completions.create(model="tiny-language", messages=ASKED, stream=True)
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in stream)

    assert await asyncio.to_thread(ask) == ("It was built in 1863.", "one two three four")
