"""Bodies of `/v1/responses`."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from perenne.errors import InvalidRequest
from perenne.messages.models import ChatMessage
from perenne.messages.records import Role
from serve.openai_bodies import FailFast, Lenient, Metadata, Number, Text, example, refuse_unkept

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class TextItem(Lenient):
    type: Literal["input_text", "output_text", "text"]
    text: Text


def _joined(content: str | list[TextItem]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class MessageItem(Lenient):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | FailFast[TextItem]

    def said(self) -> tuple[Role, str]:
        """Role and text, in our words."""
        return _ROLES[self.role], _joined(self.content)


class CallItem(Lenient):
    type: Literal["function_call"]
    call_id: str = Field(max_length=200)
    name: str = Field(max_length=200)
    arguments: Text


class CallOutputItem(Lenient):
    type: Literal["function_call_output"]
    call_id: str = Field(max_length=200)
    output: Text | FailFast[TextItem]


class FunctionTool(Lenient):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(Lenient):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=200)


class TextFormat(Lenient):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextOptions(Lenient):
    format: TextFormat | None = None


class ResponseBody(Lenient):
    """`store`: an answer from documents is always stored, the language model's never."""

    model_config = example(model="perenne", input="When was the lighthouse built?")
    model: str = Field(max_length=300)
    input: Text | Annotated[list[MessageItem | CallItem | CallOutputItem], Field(max_length=1000)] = ""
    instructions: Text | None = None
    previous_response_id: str | None = Field(default=None, max_length=300)
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    stream: bool | None = None
    store: bool | None = None
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128, fail_fast=True)] = []
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: Metadata | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None

    def checked(self) -> None:
        """InvalidRequest for what this server does not do."""
        if self.background:
            raise InvalidRequest("background: not offered; an answer goes on in its conversation at /api", "background")
        if self.conversation is not None:
            raise InvalidRequest("conversation: use previous_response_id, or /api/conversations", "conversation")
        if self.prompt is not None:
            raise InvalidRequest("prompt: no templates of prompts are kept here", "prompt")
        if not self.items():
            raise InvalidRequest("input: expected a text or at least one item", "input")
        form = self.form()
        if (form.type == "json_schema") != (form.schema_ is not None):
            raise InvalidRequest("text.format: a schema goes with the type json_schema", "text.format")

    def checked_bare(self) -> None:
        """InvalidRequest for what needs a stored answer."""
        if self.store:
            raise InvalidRequest("store: what the language model says by itself is not stored", "store")
        if self.previous_response_id is not None:
            words = "previous_response_id: what the language model says by itself is not stored; send the messages"
            raise InvalidRequest(words, "previous_response_id")

    def checked_for_documents(self) -> None:
        """InvalidRequest for what an answer from documents cannot do: it is prose with citations, and calls nothing."""
        if self.store is False:
            raise InvalidRequest("store: an answer from documents is stored before its first word; delete it after", "store")
        if self.tools and self.tool_choice != "none":
            raise InvalidRequest("tools: an answer from documents calls none; name the language model itself", "tools")
        if self.form().type != "text":
            raise InvalidRequest("text.format: an answer from documents is text", "text.format")
        refuse_unkept(metadata=self.metadata)

    def form(self) -> TextFormat:
        wanted = None if self.text is None else self.text.format
        return wanted or TextFormat(type="text")

    def items(self) -> list[MessageItem | CallItem | CallOutputItem]:
        """The input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)] if self.input else []
        return self.input

    def said(self) -> list[tuple[Role, str]]:
        """Roles and texts. InvalidRequest for calls of tools: whoever asks for this has none."""
        said: list[tuple[Role, str]] = []
        for item in self.items():
            if not isinstance(item, MessageItem):
                raise InvalidRequest("input: an answer from documents takes no items of tools", "input")
            said.append(item.said())
        return said

    def messages(self) -> tuple[ChatMessage, ...]:
        """For an engine: instructions first; calls that follow each other are one message."""
        messages = [] if not self.instructions else [ChatMessage(role="system", content=self.instructions)]
        for item in self.items():
            if isinstance(item, MessageItem):
                role, text = item.said()
                messages.append(ChatMessage(role=role, content=text))
            elif isinstance(item, CallOutputItem):
                more = {"tool_call_id": item.call_id}
                messages.append(ChatMessage(role="tool", content=_joined(item.output), more=more))
            else:
                function = {"name": item.name, "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                if messages and messages[-1].role == "assistant" and "tool_calls" in messages[-1].more:
                    messages[-1].more["tool_calls"].append(call)
                else:
                    messages.append(ChatMessage(role="assistant", content="", more={"tool_calls": [call]}))
        return tuple(messages)

    def extra(self) -> dict[str, Any]:
        """What the engine is passed, in the words of chat completions."""
        extra: dict[str, Any] = {}
        if self.tools:
            tools = [tool.model_dump(exclude={"type"}, exclude_none=True) for tool in self.tools]
            extra["tools"] = [{"type": "function", "function": tool} for tool in tools]
        if isinstance(self.tool_choice, NamedChoice):
            extra["tool_choice"] = {"type": "function", "function": {"name": self.tool_choice.name}}
        elif self.tool_choice is not None:
            extra["tool_choice"] = self.tool_choice
        if self.parallel_tool_calls is not None:
            extra["parallel_tool_calls"] = self.parallel_tool_calls
        form = self.form()
        if form.type == "json_schema":
            named = {"name": form.name or "answer", "schema": form.schema_}
            extra["response_format"] = {"type": "json_schema", "json_schema": named}
        elif form.type == "json_object":
            extra["response_format"] = {"type": "json_object"}
        return extra

    def echoed(self) -> dict[str, Any]:
        """The fields that an answer repeats."""
        asked = json.loads(self.model_dump_json(by_alias=True, exclude_none=True))
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": self.previous_response_id,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "text": {"format": asked.get("text", {}).get("format", {"type": "text"})},
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": [{"strict": None, "parameters": None, **tool} for tool in asked.get("tools", [])],
        }
