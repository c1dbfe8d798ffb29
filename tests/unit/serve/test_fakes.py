import asyncio

import pytest

from perenne.errors import DeadlineExceeded, ModelNotReady, Unavailable
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateRequest
from perenne.testing import FakeDirectory, FakeEmbedder, FakeLanguage, eventually, rows_of


def asked(text: str, **more: object) -> GenerateRequest:
    return GenerateRequest(request_id="r1", messages=(ChatMessage(role="user", content=text),), **more)


async def said(language: FakeLanguage, request: GenerateRequest) -> tuple[str, str | None]:
    chunks = [c async for c in language.stream(request)]
    return "".join(c.text for c in chunks), chunks[-1].finish_reason


async def test_texts_that_share_words_are_nearer_than_those_that_do_not() -> None:
    vectors = rows_of(await FakeEmbedder().embed(EmbedRequest(texts=("The red house", "a red HOUSE", "quantum chemistry"))))
    near, far = (sum(a * b for a, b in zip(vectors[0], v, strict=True)) for v in vectors[1:])
    assert near > 0.5
    assert abs(far) < 0.3


async def test_the_language_model_keeps_to_limits_and_stops() -> None:
    assert await said(FakeLanguage("one two three four"), asked("x", max_tokens=2)) == ("one two", "length")
    assert await said(FakeLanguage("one two three"), asked("x", stop=("two",))) == ("one ", "stop")
    assert await said(FakeLanguage("one two three"), asked("x", prefix="one")) == (" two three", "stop")


async def test_a_killed_name_is_unavailable_and_a_hung_one_runs_into_the_deadline() -> None:
    directory = FakeDirectory(language=FakeLanguage("one two three"))
    assert (await directory.call("language", "state", timeout_s=1)).phase == "ready"
    directory.hang("language")
    with pytest.raises(DeadlineExceeded):
        await directory.call("language", "state", timeout_s=0.02)
    directory.revive("language")
    chunks = directory.stream("language", "stream", silence_s=1, request=asked("x"))
    assert await anext(chunks)
    directory.kill("language")
    with pytest.raises(Unavailable):
        await anext(chunks)
    assert directory.open_streams["language"] == 0


async def test_leaving_a_stream_ends_its_producer() -> None:
    language = FakeLanguage("word " * 1000, token_s=0.01)
    directory = FakeDirectory(language=language)

    async def read() -> None:
        async for _ in directory.stream("language", "stream", silence_s=1, request=asked("x")):
            pass

    reader = asyncio.create_task(read())
    await eventually(lambda: language.running == 1)
    reader.cancel()
    await eventually(lambda: language.running == 0)
    assert language.closed_early == 1


async def test_eventually_raises_the_last_word() -> None:
    with pytest.raises(AssertionError, match="last answer was 0"):
        await eventually(lambda: 0, within_s=0.02)


async def test_a_model_on_its_way_says_so() -> None:
    embedder = FakeEmbedder()
    embedder.phase, embedder.progress = "downloading", 0.34
    with pytest.raises(ModelNotReady, match="34%"):
        await embedder.embed(EmbedRequest(texts=("a",)))
