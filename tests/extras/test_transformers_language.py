"""Text by transformers: what a reader of the stream relies on, with a small model that knows one answer by heart."""

import asyncio
import time

import pytest
import transformers
from small_models import ANSWER, QUESTION

from actors.models.transformers_language import TransformersLanguage
from perenne.errors import Busy, InvalidRequest
from perenne.messages.models import ChatMessage, GenerateChunk, GenerateRequest
from perenne.testing import eventually


def asked(text: str = QUESTION, **more: object) -> GenerateRequest:
    messages = (ChatMessage(role="user", content=text),)
    return GenerateRequest(**({"request_id": "r1", "messages": messages, "temperature": 0.0} | more))


async def read(engine: TransformersLanguage, request: GenerateRequest) -> tuple[str, list[GenerateChunk]]:
    chunks = [chunk async for chunk in engine.stream(request)]
    return "".join(chunk.text for chunk in chunks), chunks


@pytest.fixture
def language(made, speaker) -> TransformersLanguage:
    return made(TransformersLanguage, speaker)


@pytest.fixture
def slow(made, slow_speaker) -> TransformersLanguage:
    return made(TransformersLanguage, slow_speaker, queue=1)


async def test_an_answer_comes_in_pieces_by_the_chat_template_and_ends_by_itself(language, speaker) -> None:
    text, chunks = await read(language, asked())
    assert text == ANSWER  # characters of several tokens came whole
    assert sum(bool(chunk.text) for chunk in chunks) > 20
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(speaker)
    assert chunks[-1].usage.prompt_tokens == len(
        tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_dict=True)[
            "input_ids"
        ]
    )
    assert chunks[-1].usage.completion_tokens == len(tokenizer(ANSWER)["input_ids"]) + 1  # and the end


async def test_it_stops_for_its_length_and_says_so(language) -> None:
    text, chunks = await read(language, asked(max_tokens=5))
    assert ANSWER.startswith(text)
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 5


@pytest.mark.parametrize(
    ("stop", "left"), [("runs over", "The ñandú — 走る鳥 — "), ("鳥", "The ñandú — 走る"), ("never said", ANSWER)]
)
async def test_nothing_is_told_from_a_stop_string_on(language, stop: str, left: str) -> None:
    text, chunks = await read(language, asked(stop=(stop, "zebra")))
    assert text == left
    assert chunks[-1].finish_reason == "stop"


async def test_it_goes_on_from_a_prefix_and_from_a_bare_prompt(language, speaker) -> None:
    cut = ANSWER.index(" over")
    beginning, rest = ANSWER[:cut], ANSWER[cut:]
    assert (await read(language, asked(prefix=beginning)))[0] == rest
    prompt = f"<|start|>user\n{QUESTION}<|end|><|start|>assistant\n{beginning}"
    assert (await read(language, asked(messages=(), prompt=prompt)))[0] == rest


async def test_a_seed_draws_the_same_again_and_another_seed_something_else(language) -> None:
    texts = [
        (await read(language, asked("Tell me anything.", temperature=1.5, seed=seed, max_tokens=24)))[0] for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_what_a_prompt_begins_with_is_not_read_twice_and_changes_nothing(language) -> None:
    first = (await read(language, asked()))[1][-1].usage
    text, chunks = await read(language, asked())
    assert first.cached_tokens == 0
    assert chunks[-1].usage.cached_tokens == chunks[-1].usage.prompt_tokens - 1
    assert text == ANSWER
    other, _ = await read(language, asked("Who sleeps on the sofa, and why does it rain?", max_tokens=30))
    assert other != ANSWER[:30]
    assert (await read(language, asked()))[0] == ANSWER


async def test_what_is_asked_for_and_can_not_be_done_is_refused_in_words(language) -> None:
    for more, words in (
        ({"grammar": "root ::= [0-9]"}, "grammar: the engine transformers"),
        ({"extra": {"tools": [{"type": "function"}]}}, "tools: "),
        ({"extra": {"response_format": {"type": "json_object"}}}, "response_format: "),
        ({"extra": {"logprobs": True}}, "logprobs: "),
        ({"messages": ()}, "expected at least one"),
        ({"messages": (ChatMessage(role="tool", content="4"),)}, "chat template refused them: no tools here"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            await read(language, asked(**more))
    with pytest.raises(InvalidRequest, match="the context size is 1024"):
        await read(language, asked("run " * 2_000))
    assert (await read(language, asked()))[0] == ANSWER  # it goes on


async def test_tokens_are_counted_without_the_template_while_an_answer_is_written(language, slow) -> None:
    stream = slow.stream(asked("run " * 400, max_tokens=50))
    await anext(stream)
    counts = await asyncio.gather(*(slow.count_tokens((QUESTION, "", ANSWER)) for _ in range(20)))
    assert set(counts) == {await language.count_tokens((QUESTION, "", ANSWER))}
    assert counts[0][1] == 0
    assert counts[0][2] > counts[0][0] > 3
    await stream.aclose()


@pytest.mark.parametrize("where", ["prompt", "answer"])
async def test_a_reader_that_leaves_stops_the_engine_within_a_second(slow, where: str) -> None:
    text = "run over it " * (1_500 if where == "prompt" else 3)
    stream = slow.stream(asked(text, max_tokens=2_000))
    seen = []
    async for chunk in stream:
        seen.append(chunk.prompt_progress)
        if (where == "prompt" and 0.0 < (chunk.prompt_progress or 0.0) < 0.5) or (where == "answer" and chunk.text):
            break
    assert where == "answer" or 0.0 < seen[-1] < 0.5, f"the prompt was read too quickly for this test: {seen}"
    began = time.monotonic()
    await stream.aclose()
    await eventually(lambda: slow.figures().queue == 0, 10.0)
    assert time.monotonic() - began < 1.0
    text, chunks = await read(slow, asked("run over it", max_tokens=3))  # and it is whole
    assert chunks[-1].usage.completion_tokens == 3


async def test_a_full_line_says_busy_and_when_by_what_answers_took(slow) -> None:
    took = []
    for number in range(9):
        began = time.monotonic()
        await read(slow, asked(f"{number} run", max_tokens=6))
        took.append(time.monotonic() - began)
    await eventually(lambda: slow.figures().queue == 0)  # an answer is read a moment before its place is free
    long = [slow.stream(asked("run", request_id=str(n), max_tokens=4_000)) for n in range(2)]
    readers = [asyncio.create_task(anext(stream)) for stream in long]
    await eventually(lambda: slow.figures().queue == 2)
    with pytest.raises(Busy) as refused:
        await read(slow, asked("run"))
    # The first guess was 2 s a job; by now it is what the last ones took, for the one that waits and the one in hand.
    assert 0.1 * min(took) < refused.value.retry_after_s / 2 < max(took) + 0.2
    await asyncio.gather(*readers)
    for stream in long:
        await stream.aclose()
