"""The real small models: what a reader of their streams relies on. Needs the weights in PERENNE_MODELS."""

import asyncio
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from actors.models.catalogue import entry_of
from actors.models.replicas import EmbeddingReplica, LanguageReplica
from actors.models.weights import Weights
from perenne.errors import InvalidRequest
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateChunk, GenerateRequest
from perenne.settings import ModelSettings, Settings
from perenne.testing import eventually

LANGUAGE, EMBEDDING = "smollm2-135m-instruct-q4_1", "use-multilingual-q8"
TEXT = "The cat sat on the mat and looked at the bird. " * 60


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    folder = os.environ.get("PERENNE_MODELS", "")
    for model_id in (LANGUAGE, EMBEDDING):
        if not folder or not Weights(entry_of(model_id), Path(folder)).is_installed:
            words = f"no weights of {model_id} in PERENNE_MODELS={folder!r}"
            pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    return Settings(
        home=str(tmp_path_factory.mktemp("home")),
        models_dir=folder,
        language=ModelSettings(engine="llama_cpp", model=LANGUAGE, context_tokens=4096),
        embedding=ModelSettings(engine="onnx", model=EMBEDDING),
    )


@pytest.fixture(scope="module")
def language(settings: Settings):
    replica = LanguageReplica(settings)
    yield replica
    replica.close()


@pytest.fixture(scope="module")
def embedding(settings: Settings):
    replica = EmbeddingReplica(settings)
    yield replica
    replica.close()


def asked(text: str, **more: object) -> GenerateRequest:
    return GenerateRequest(request_id=text[-40:], messages=(ChatMessage(role="user", content=text),), temperature=0.0, **more)


async def read(language: LanguageReplica, request: GenerateRequest) -> tuple[str, list[GenerateChunk]]:
    chunks = [chunk async for chunk in language.stream(request)]
    return "".join(chunk.text for chunk in chunks), chunks


async def test_an_answer_has_text_an_end_and_a_count(language) -> None:
    text, chunks = await read(language, asked("Say hello.", max_tokens=8))
    assert text
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 8
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_what_a_prompt_begins_with_is_not_read_twice(language) -> None:
    _, first = await read(language, asked(TEXT + "What did it do?", max_tokens=4))
    _, second = await read(language, asked(TEXT + "And then?", max_tokens=4))
    assert first[-1].usage.cached_tokens < 100
    assert second[-1].usage.cached_tokens > 0.9 * second[-1].usage.prompt_tokens
    assert (await language.state()).prompt_tokens_per_s > 1.0


@pytest.mark.parametrize("where", ["prompt", "answer"])
async def test_a_reader_that_leaves_stops_the_engine_within_a_second(language, where: str) -> None:
    text = TEXT.replace("cat", "horse") * 4 if where == "prompt" else "Tell me a very long story."
    stream = language.stream(asked(text[:12_000], max_tokens=2_000))
    async for chunk in stream:
        if (where == "prompt" and 0.0 < (chunk.prompt_progress or 0.0) < 0.7) or (where == "answer" and chunk.text):
            break
    began = time.monotonic()
    await stream.aclose()
    await eventually(lambda: language.residence.state().queue == 0, 10.0)
    # A cancel is seen between two batches of 64 tokens: under a second, but on a machine that reads fewer than 64 tokens a second.
    batch_s = 64 / language.residence.state().prompt_tokens_per_s
    assert time.monotonic() - began < max(1.0, 2.5 * batch_s)


async def test_an_answer_is_gone_on_from_its_prefix(language) -> None:
    text, _ = await read(language, asked("Count from one to ten.", prefix="one, two, three,", max_tokens=6))
    assert text.strip().startswith("four")


CITY = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Brest", "Vigo"]}}, "required": ["city"]}
ZONE = {
    "type": "object",
    "properties": {"zone": {"$ref": "#/$defs/zone"}},
    "required": ["zone"],
    "$defs": {"zone": {"const": "CET"}},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": parameters}}
    for name, parameters in (("weather", CITY), ("clock", ZONE))
]


@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"weather", "clock"})]
    + [({"type": "function", "function": {"name": name}}, {name}) for name in ("weather", "clock")],
)
async def test_a_tool_that_must_be_called_is(language, choice, names: set[str]) -> None:
    # llama.cpp takes `required` and a name and, with this model's chat template, answered in prose all the same.
    text, chunks = await read(language, asked("Hello!", max_tokens=200, extra={"tools": TOOLS, "tool_choice": choice}))
    pieces = [piece for chunk in chunks for piece in chunk.tool_calls]
    assert (text, chunks[-1].finish_reason) == ("", "tool_calls")
    assert {piece["index"] for piece in pieces} == {0}
    assert pieces[0]["function"]["name"] in names
    arguments = json.loads("".join(piece["function"]["arguments"] for piece in pieces))
    assert arguments in (
        [{"zone": "CET"}] if pieces[0]["function"]["name"] == "clock" else [{"city": "Brest"}, {"city": "Vigo"}]
    )
    assert chunks[-1].usage.completion_tokens > 0


async def test_a_call_that_the_limit_cuts_says_so(language) -> None:
    extra = {"tools": TOOLS, "tool_choice": "required"}
    _, chunks = await read(language, asked("Hello!", max_tokens=6, extra=extra))
    assert chunks[-1].finish_reason == "length"


async def test_a_tool_that_is_not_there_cannot_be_called(language) -> None:
    named = {"type": "function", "function": {"name": "oven"}}
    with pytest.raises(InvalidRequest, match="'oven'"):
        await read(language, asked("Hello!", extra={"tools": TOOLS, "tool_choice": named}))


async def test_a_prompt_beyond_the_context_is_refused_in_words(language) -> None:
    with pytest.raises(InvalidRequest, match="context size"):
        await read(language, asked("word " * 6_000))


async def test_a_cut_file_is_a_state_and_not_a_crash(tmp_path, settings) -> None:
    cut = tmp_path / "cut.gguf"
    whole = Weights(entry_of(LANGUAGE), Path(settings.models_dir)).paths[0]
    with whole.open("rb") as file:
        cut.write_bytes(file.read(5_000_000))
    replica = LanguageReplica(settings.model_copy(update={"language": ModelSettings(engine="llama_cpp", model=str(cut))}))
    try:
        await eventually(lambda: replica.residence.phase == "failed", 30)
        assert "cut.gguf could not be loaded" in (await replica.state()).detail
    finally:
        await asyncio.to_thread(replica.close)


async def test_a_spanish_question_is_nearest_to_what_answers_it_in_english(embedding) -> None:
    await eventually(lambda: embedding.residence.phase == "ready", 30)
    passages = ("The cat sleeps on the sofa.", "Interest rates rose in March.", "The bridge was built in 1890.")
    rows = await embedding.embed(EmbedRequest(texts=passages))
    query = await embedding.embed(EmbedRequest(texts=("¿Dónde duerme el gato?",), kind="query"))
    scores = np.frombuffer(rows.data, "<f4").reshape(3, 512) @ np.frombuffer(query.data, "<f4")
    assert scores.argmax() == 0
    assert np.linalg.norm(np.frombuffer(query.data, "<f4")) == pytest.approx(1.0, abs=1e-5)


async def test_texts_that_are_hardly_texts_are_embedded_too(embedding) -> None:
    await eventually(lambda: embedding.residence.phase == "ready", 30)
    found = await embedding.embed(EmbedRequest(texts=("", "\ud800\0", "x" * 100_000, "ok")))
    assert found.count == 4
    assert np.isfinite(np.frombuffer(found.data, "<f4")).all()
