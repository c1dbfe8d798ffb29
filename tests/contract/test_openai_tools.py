"""Tools, JSON formats, figures of tokens and the older completions, with the stock `openai` package against the edge."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from perenne.messages.models import GenerateChunk, GenerateRequest
from tests.contract.edge_house import House

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Brest?"}]


class Speaking:
    """A language model that says what it is given, chunk by chunk."""

    def __init__(self, *chunks: GenerateChunk) -> None:
        self.chunks, self.requests = chunks, list[GenerateRequest]()

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        self.requests.append(request)
        for chunk in self.chunks:
            yield chunk


async def test_a_tool_is_called_whole_and_its_answer_goes_back(house: House, client: openai.AsyncOpenAI) -> None:
    house.language.tool_arguments = '{"city": "Brest"}'
    asked: Any = {"model": "tiny-language", "tools": TOOLS, "parallel_tool_calls": False}
    answer = await client.chat.completions.create(messages=ASKED, tool_choice="auto", **asked)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Brest"})
    extra = house.language.requests[0].extra
    assert (extra["tools"], extra["tool_choice"], extra["parallel_tool_calls"]) == (TOOLS, "auto", False)
    back: list[Any] = [
        *ASKED,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "rain"}]},
    ]
    said = await client.chat.completions.create(messages=back, **asked)
    assert said.choices[0].message.content == "rain"
    asked_last = house.language.requests[-1].messages
    assert [message.role for message in asked_last] == ["user", "assistant", "tool"]
    assert asked_last[1].more["tool_calls"][0]["function"]["name"] == "weather"
    assert asked_last[2].more["tool_call_id"] == call.id


async def test_a_tool_that_is_named_is_called_and_none_means_none(house: House, client: openai.AsyncOpenAI) -> None:
    hello: list[Any] = [{"role": "user", "content": "hello"}]
    named: Any = {"type": "function", "function": {"name": "weather"}}
    asked: Any = {"model": "tiny-language", "messages": hello, "tools": TOOLS}
    answer = await client.chat.completions.create(tool_choice=named, **asked)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert house.language.requests[-1].extra["tool_choice"] == named
    answer = await client.chat.completions.create(tool_choice="none", **asked)
    assert answer.choices[0].message.content == "hello"


async def test_calls_of_tools_stream_in_pieces_that_the_client_joins(house: House, client: openai.AsyncOpenAI) -> None:
    def piece(index: int, id: str | None, name: str | None, arguments: str) -> GenerateChunk:
        function = {"arguments": arguments} | ({} if name is None else {"name": name})
        return GenerateChunk(tool_calls=({"index": index, "function": function} | ({} if id is None else {"id": id}),))

    speaking = Speaking(
        GenerateChunk(prompt_progress=1.0),
        piece(0, "call_a", "weather", ""),
        piece(0, None, None, '{"city": '),
        piece(0, None, None, '"Brest"}'),
        piece(1, "call_b", "weather", '{"city": "Quimper"}'),
        GenerateChunk(finish_reason="tool_calls"),
    )
    house.directory.put("language", speaking)
    asked: Any = {"model": "tiny-language", "messages": ASKED, "tools": TOOLS}
    async with client.chat.completions.stream(**asked) as stream:
        final = await stream.get_final_completion()
    for message in (final.choices[0].message, (await client.chat.completions.create(**asked)).choices[0].message):
        assert message.tool_calls is not None
        calls = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]  # type: ignore[union-attr]
        assert calls == [("call_a", "weather", {"city": "Brest"}), ("call_b", "weather", {"city": "Quimper"})]


async def test_a_json_schema_reaches_the_engine_as_it_came(house: House, client: openai.AsyncOpenAI) -> None:
    class City(BaseModel):
        name: str
        rain: bool

    house.language.reply = '{"name": "Brest", "rain": true}'
    parsed = await client.chat.completions.parse(model="tiny-language", messages=ASKED, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Brest", rain=True)
    wanted = house.language.requests[0].extra["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"]["required"] == ["name", "rain"]
    await client.chat.completions.create(model="tiny-language", messages=ASKED, response_format={"type": "json_object"})
    assert house.language.requests[1].extra["response_format"] == {"type": "json_object"}


async def test_the_figures_of_tokens_come_as_openai_gives_them(house: House, client: openai.AsyncOpenAI) -> None:
    token: Any = {"id": 5, "token": "Rain", "bytes": [82], "logprob": -0.5, "top_logprobs": []}
    house.directory.put(
        "language", Speaking(GenerateChunk(text="Rain", logprobs={"content": [token]}), GenerateChunk(finish_reason="length"))
    )
    asked: Any = {"model": "tiny-language", "messages": ASKED, "logprobs": True, "top_logprobs": 0}
    whole = await client.chat.completions.create(**asked)
    streamed = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
    for logprobs in (whole.choices[0].logprobs, streamed[1].choices[0].logprobs):
        assert logprobs is not None
        assert logprobs.content is not None
        assert (logprobs.content[0].token, logprobs.content[0].logprob) == ("Rain", -0.5)
    older = await client.completions.create(model="tiny-language", prompt="It will", logprobs=1)
    assert older.choices[0].logprobs is not None
    assert older.choices[0].logprobs.token_logprobs == [-0.5]
    assert older.choices[0].finish_reason == "length"


async def test_the_older_completions_write_on_from_a_bare_text(house: House, client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="tiny-language", prompt="one two three four", max_tokens=2, stop="four")
    assert (whole.object, whole.choices[0].text, whole.choices[0].finish_reason) == ("text_completion", "one two", "length")
    request = house.language.requests[0]
    assert (request.prompt, request.messages, request.stop) == ("one two three four", (), ("four",))
    stream = await client.completions.create(
        model="tiny-language", prompt=["one two three"], stream=True, stream_options={"include_usage": True}
    )
    pieces = [piece async for piece in stream]
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == "one two three"
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("n", {"n": 2}),
        ("tools", {"model": "perenne", "tools": TOOLS}),
        ("response_format", {"model": "perenne", "response_format": {"type": "json_object"}}),
        ("response_format", {"response_format": {"type": "json_schema"}}),
        ("logprobs", {"model": "perenne", "logprobs": True}),
        ("messages", {"model": "perenne", "messages": [*ASKED, {"role": "tool", "tool_call_id": "c", "content": "x"}]}),
        ("functions", {"functions": [{"name": "weather"}]}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("messages.0.content", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
    ],
)
async def test_what_is_not_served_is_refused_by_name(client: openai.AsyncOpenAI, field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**{"model": "tiny-language", "messages": ASKED, **asked})
    assert str(refused.value.param).startswith(field)


@pytest.mark.parametrize(
    "asked", [{"n": 2}, {"suffix": "x"}, {"echo": True}, {"best_of": 3}, {"prompt": ["a", "b"]}, {"prompt": [1]}]
)
async def test_what_the_older_completions_do_not_do_is_refused(client: openai.AsyncOpenAI, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.completions.create(**{"model": "tiny-language", "prompt": "a", **asked})
    with pytest.raises(openai.BadRequestError, match="chat/completions"):
        await client.completions.create(model="perenne", prompt="a")
