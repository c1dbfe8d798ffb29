"""Responses, with the stock `openai` package: the bare model's are not kept, those from documents are runs in conversations."""

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from perenne.messages.models import GenerateChunk
from perenne.testing import eventually
from tests.contract.edge_house import House
from tests.contract.test_openai_tools import Speaking

TOOLS: list[Any] = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
MESSAGE_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def conversations(house: House) -> list[dict[str, Any]]:
    async with house.http() as http:
        return (await http.get("/api/conversations")).json()["items"]


async def test_the_bare_model_answers_and_nothing_is_kept(house: House, client: openai.AsyncOpenAI) -> None:
    said = await client.responses.create(
        model="tiny-language", instructions="Be brief.", input="one two three", max_output_tokens=2, temperature=0, store=False
    )
    assert (said.output_text, said.status, said.instructions) == ("one two", "incomplete", "Be brief.")
    assert said.incomplete_details is not None
    assert said.incomplete_details.reason == "max_output_tokens"
    assert said.usage is not None
    assert said.usage.output_tokens == 2
    request = house.language.requests[0]
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Be brief."),
        ("user", "one two three"),
    ]
    assert (request.max_tokens, request.temperature) == (2, 0)
    assert await conversations(house) == []
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(said.id)


async def test_the_events_come_in_openais_order_with_their_numbers(client: openai.AsyncOpenAI) -> None:
    for model, words in (("tiny-language", "one two"), ("perenne", "It was built in 1863.")):
        stream = await client.responses.create(model=model, input="one two", stream=True)
        events = [event async for event in stream]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events if "annotation" not in event.type]
        assert [kind for n, kind in enumerate(kinds) if kind not in kinds[:n]] == MESSAGE_EVENTS
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == words
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == words
        async with client.responses.stream(model=model, input="one two") as joined:
            assert (await joined.get_final_response()).output_text == words


async def test_an_answer_from_documents_is_kept_cited_and_goes_on(house: House, client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="perenne:default", input="When was it built?", instructions="Be brief.")
    (message,) = first.output
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    cited = part.annotations[0]
    assert cited.type == "url_citation"
    assert (cited.title, cited.start_index, cited.end_index) == ("Lights", 0, 22)
    kept = await client.responses.retrieve(first.id)
    assert (kept.output_text, kept.status, kept.model) == (first.output_text, "completed", "perenne:default")
    assert (kept.instructions, kept.usage) == ("Be brief.", first.usage)
    second = await client.responses.create(model="perenne", input="And who?", previous_response_id=first.id)
    (talk,) = await conversations(house)
    async with house.http() as http:
        texts = [m["text"] for m in (await http.get(f"/api/conversations/{talk['id']}/messages")).json()["items"]]
        run = (await http.get(f"/api/runs/{house.runs.started[1]}")).json()
    assert texts == ["When was it built?", first.output_text, "And who?", second.output_text]
    assert run["options"]["history"] is None  # the conversation itself
    again = await client.responses.create(model="perenne", input="Really?", previous_response_id=first.id)
    async with house.http() as http:
        run = (await http.get(f"/api/runs/{house.runs.started[2]}")).json()
        texts = [m["text"] for m in (await http.get(f"/api/conversations/{talk['id']}/messages")).json()["items"]]
    assert run["options"]["history"] is None  # that of its own branch
    assert texts == ["When was it built?", first.output_text, "Really?", again.output_text]
    with pytest.raises(openai.ConflictError, match=talk["id"]):
        await client.responses.delete(again.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="perenne", input="And?", previous_response_id="resp_made_up")


async def test_a_kept_answer_is_asked_for_its_input_and_deleted(house: House, client: openai.AsyncOpenAI) -> None:
    asked: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "When?"}]},
    ]
    answer = await client.responses.create(model="perenne", input=asked)
    items = [item async for item in client.responses.input_items.list(answer.id, limit=1)]
    assert [(item.role, item.content[0].text) for item in items] == [("user", "When?"), ("system", "Be brief.")]  # type: ignore[union-attr]
    await client.responses.delete(answer.id)
    assert await conversations(house) == []
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(answer.id)


async def test_an_answer_is_cancelled(house: House, client: openai.AsyncOpenAI) -> None:
    house.runs.hold_after = 1
    stream = await client.responses.create(model="perenne", input="When?", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    id = "resp_" + house.runs.started[0].removeprefix("run_")
    assert (await client.responses.retrieve(id)).status == "in_progress"
    await client.responses.cancel(id)
    await eventually(lambda: house.runs.stopped == house.runs.started)
    await stream.close()
    house.runs.gate.set()


async def test_a_reader_that_leaves_stops_the_run(house: House, client: openai.AsyncOpenAI) -> None:
    house.runs.hold_after = 1
    stream = await client.responses.create(model="perenne", input="When?", stream=True)
    await anext(aiter(stream))
    await stream.close()
    await eventually(lambda: house.runs.stopped == house.runs.started)
    house.runs.gate.set()


async def test_tools_are_called_and_answered(house: House, client: openai.AsyncOpenAI) -> None:
    house.language.tool_arguments = '{"city": "Brest"}'
    asked: list[Any] = [{"role": "user", "content": "The weather?"}]
    answer = await client.responses.create(model="tiny-language", input=asked, tools=TOOLS, tool_choice="required")
    (call,) = answer.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", '{"city": "Brest"}')
    asked += [call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    said = await client.responses.create(model="tiny-language", input=asked, tools=TOOLS)
    assert said.output_text == "rain"
    assert [message.role for message in house.language.requests[-1].messages] == ["user", "assistant", "tool"]
    extra = house.language.requests[0].extra
    assert (extra["tool_choice"], extra["tools"][0]["function"]["name"]) == ("required", "weather")
    pieces = [{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}}]
    pieces += [{"index": 0, "function": {"arguments": part}} for part in ('{"city": ', '"Brest"}')]
    chunks = [GenerateChunk(text="I look. "), *(GenerateChunk(tool_calls=(piece,)) for piece in pieces)]
    house.directory.put("language", Speaking(*chunks, GenerateChunk(finish_reason="tool_calls")))
    stream = await client.responses.create(model="tiny-language", input="The weather?", tools=TOOLS, stream=True)
    events = [event async for event in stream]
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in done] == ['{"city": "Brest"}']
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["message", "function_call"]


async def test_a_json_schema_reaches_the_engine(house: House, client: openai.AsyncOpenAI) -> None:
    class City(BaseModel):
        name: str

    house.language.reply = '{"name": "Brest"}'
    parsed = await client.responses.parse(model="tiny-language", input="A city?", text_format=City)
    assert parsed.output_parsed == City(name="Brest")
    wanted = house.language.requests[0].extra["response_format"]
    assert (wanted["type"], wanted["json_schema"]["schema"]["required"]) == ("json_schema", ["name"])


async def test_a_model_that_dies_in_mid_stream_fails_the_response(house: House, client: openai.AsyncOpenAI) -> None:
    house.language.reply, house.language.token_s = "word " * 500, 0.01
    kinds: list[str] = []
    async for event in await client.responses.create(model="tiny-language", input="go", stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            house.directory.kill("language")
    assert kinds[-1] == "response.failed"


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("store", {"store": False}),
        ("store", {"model": "tiny-language", "store": True}),
        ("previous_response_id", {"model": "tiny-language", "previous_response_id": "resp_1"}),
        ("tools", {"tools": TOOLS}),
        ("tools", {"tools": [{"type": "web_search"}]}),
        ("text.format", {"text": {"format": {"type": "json_object"}}}),
        ("metadata", {"metadata": {"a": "b"}}),
        ("background", {"background": True}),
        ("conversation", {"conversation": "conv_1"}),
        ("input", {"input": [{"role": "assistant", "content": "hello"}]}),
        ("input", {"input": ""}),
    ],
)
async def test_what_is_not_served_is_refused_by_name(client: openai.AsyncOpenAI, field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(**{"model": "perenne", "input": "When?", **asked})
    assert str(refused.value.param).startswith(field)
