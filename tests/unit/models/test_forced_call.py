"""A call of a tool that must be: the schema that binds the answer, and the bound text told on as a call, however it is cut."""

import json
from typing import Any

import jsonschema_rs
import pytest

from actors.models.forced_call import CallTold, ForcedCall
from actors.models.llama_cpp import bound_to
from perenne.errors import InvalidRequest

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NODE: dict[str, Any] = {  # refers to a part of itself
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/node"}},
    "required": ["tree"],
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}},
}


def tool(name: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, **more} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": function}


TOOLS = [tool("weather", CITY, description="The weather of a city."), tool("graft", NODE), tool("stop")]


def forced(choice: Any, tools: list[dict[str, Any]] = TOOLS) -> ForcedCall:
    found = ForcedCall.of({"tools": tools, "tool_choice": choice})
    assert found is not None
    return found


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_a_model_that_is_free_is_left_free(choice: Any) -> None:
    assert ForcedCall.of({"tools": TOOLS, **({} if choice is None else {"tool_choice": choice})}) is None


def test_the_schema_takes_a_call_of_any_tool_and_nothing_else() -> None:
    schema = jsonschema_rs.validator_for(forced("required").schema())
    good: list[Any] = [
        {"name": "weather", "arguments": {"city": "Brest"}},
        {"name": "graft", "arguments": {"tree": {"next": {"next": {}}}}},
        {"name": "stop", "arguments": {}},
    ]
    bad: list[Any] = [
        {"name": "weather", "arguments": {}},
        {"name": "graft", "arguments": {"tree": {"next": {"last": {}}}}},
        {"name": "clock", "arguments": {}},
        {"name": "stop"},
        "the weather is fine",
    ]
    assert [schema.is_valid(call) for call in (*good, *bad)] == [True] * 3 + [False] * 5


def test_a_tool_that_is_named_is_the_only_one() -> None:
    named = forced({"type": "function", "function": {"name": "graft"}})
    schema = jsonschema_rs.validator_for(named.schema())
    assert schema.is_valid({"name": "graft", "arguments": {"tree": {}}})
    assert not schema.is_valid({"name": "stop", "arguments": {}})
    assert "graft" in named.note()
    assert "weather" not in named.note()


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "clock"}}},
        {"tools": [], "tool_choice": "required"},
        {"tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}},
    ],
)
def test_what_cannot_be_bound_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        ForcedCall.of(extra)


@pytest.mark.parametrize(
    "arguments", ['{"city": "Brest"}', '{"a": {"b": {}}}', "{}", '{"city": "}} \\" }"}', '{ "a" : [ { } ] }']
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    "around", ['{{"name": "weather", "arguments": {}}}', '{{\n  "name" : "weather",\n"arguments"\n:\n{}\n\n}}\n']
)
def test_the_text_is_one_call_however_it_is_cut(arguments: str, size: int, around: str) -> None:
    text, told = around.format(arguments), CallTold()
    pieces = [piece for at in range(0, len(text), size) for piece in told.take(text[at : at + size])]
    pieces += told.end()
    assert told.is_whole
    assert pieces[0]["function"] == {"name": "weather", "arguments": ""}
    assert pieces[0]["id"]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == arguments.rstrip()


@pytest.mark.parametrize(
    ("text", "said"), [("", None), ('{"name": "wea', None), ('{"name": "weather", "arguments": {"a": {}', '{"a": {}')]
)
def test_a_call_that_breaks_off_is_told_as_far_as_it_came(text: str, said: str | None) -> None:
    told = CallTold()
    pieces = [*told.take(text), *told.end()]
    assert not told.is_whole
    assert ("".join(piece["function"]["arguments"] for piece in pieces) if pieces else None) == said


def test_where_the_template_says_nothing_of_tools_the_model_is_told_in_words() -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Brest?"}]
    body = {"messages": asked, "tools": TOOLS, "tool_choice": "required", "stop": ["\n"], "seed": 1}
    told = bound_to(forced("required"), body, tells_of_tools=False)
    assert not {"tools", "tool_choice", "stop"} & told.keys()
    assert [message["role"] for message in told["messages"]] == ["system", "user"]
    assert told["messages"][0]["content"].startswith("Be brief.")
    assert json.dumps(CITY) in told["messages"][0]["content"]
    beside = bound_to(forced("required"), body, tells_of_tools=True)
    assert (beside["tools"], beside["tool_choice"], beside["messages"]) == (TOOLS, "none", asked)
    assert beside["json_schema"] == told["json_schema"]
