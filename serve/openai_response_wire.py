"""Responses in OpenAI's form: whole, and as events in their order, each with its number."""

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from perenne.errors import PerenneError
from perenne.ids import new_id
from perenne.messages.records import Citation, Usage
from serve.answers import json_bytes
from serve.errors import described
from serve.openai_wire import annotation

_DEFAULTS: dict[str, Any] = {
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": None,
    "top_p": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "usage": None,
}


def cited(citation: Citation) -> dict[str, Any]:
    """A citation as the flat annotation of responses, with our own fields beside it."""
    return {"type": "url_citation", **annotation(citation)["url_citation"]}


def message_item(
    id: str, text: str, annotations: list[dict[str, Any]] | None = None, status: str = "completed"
) -> dict[str, Any]:
    """The assistant's words as an item."""
    part = {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": []}
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": [part]}


def call_item(id: str, call: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A call of a tool as an item."""
    return {
        "id": id,
        "type": "function_call",
        "call_id": call["id"],
        "name": call["function"]["name"],
        "arguments": call["function"]["arguments"],
        "status": status,
    }


def usage_of(usage: Usage | None) -> dict[str, Any]:
    usage = usage or Usage()
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def ended(finish_reason: str | None) -> dict[str, Any]:
    """Status and why, of an answer that came to its end."""
    if finish_reason == "length":
        return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {"status": "cancelled" if finish_reason == "cancelled" else "completed"}


@dataclass(frozen=True, slots=True)
class Head:
    """What all forms of one response share."""

    model: str
    store: bool
    id: str
    created_at: int = field(default_factory=lambda: int(time.time()))
    echoed: dict[str, Any] = field(default_factory=dict[str, Any])

    def body(self, status: str, output: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
        """The response as it stands."""
        head = {"id": self.id, "object": "response", "created_at": self.created_at, "model": self.model, "store": self.store}
        return {**head, **_DEFAULTS, **self.echoed, "status": status, "output": output or [], **more}


class Telling:
    """The events of one response. Items are opened when their first piece comes and closed in the order they were opened."""

    def __init__(self, head: Head) -> None:
        self._head, self._numbers = head, itertools.count()
        self._items: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}  # of a tool's call by the engine's index: its place in the output
        self._message: int | None = None

    def _event(self, kind: str, **data: Any) -> bytes:
        body = {"type": kind, "sequence_number": next(self._numbers), **data}
        return b"event: " + kind.encode() + b"\ndata: " + json_bytes(body) + b"\n\n"

    def begin(self) -> bytes:
        """The response is there, and under way."""
        body = self._head.body("in_progress")
        return self._event("response.created", response=body) + self._event("response.in_progress", response=body)

    def _open(self, item: dict[str, Any], shown: dict[str, Any]) -> tuple[int, bytes]:
        self._items.append(item)
        place = len(self._items) - 1
        return place, self._event("response.output_item.added", output_index=place, item=shown)

    def text(self, delta: str) -> bytes:
        """More words."""
        said = b""
        if self._message is None:
            item = message_item(new_id("msg"), "", status="in_progress")
            self._message, said = self._open(item, {**item, "content": []})
            said += self._event("response.content_part.added", **self._part_of(self._message), part=dict(item["content"][0]))
        self._items[self._message]["content"][0]["text"] += delta
        return said + self._event("response.output_text.delta", **self._part_of(self._message), delta=delta, logprobs=[])

    def _part_of(self, place: int) -> dict[str, Any]:
        return {"item_id": self._items[place]["id"], "output_index": place, "content_index": 0}

    def call(self, piece: dict[str, Any]) -> bytes:
        """A piece of a call of a tool."""
        index, function, said = int(piece.get("index", 0)), piece.get("function") or {}, b""
        if index not in self._places:
            call = {"id": piece.get("id") or new_id("call"), "function": {"name": function.get("name") or "", "arguments": ""}}
            item = call_item(new_id("fc"), call, "in_progress")
            self._places[index], said = self._open(item, dict(item))
        place = self._places[index]
        item = self._items[place]
        if arguments := function.get("arguments"):
            item["arguments"] += arguments
            said += self._event(
                "response.function_call_arguments.delta", item_id=item["id"], output_index=place, delta=arguments
            )
        return said

    def end(
        self, finish_reason: str | None, usage: Usage | None, text: str | None = None, citations: tuple[Citation, ...] = ()
    ) -> bytes:
        """Close what is open and tell the whole. `text` is the message's last word, when the pieces were not."""
        said = self.text("") if self._message is None and not self._items else b""
        outcome = ended(finish_reason)
        status = "completed" if outcome["status"] == "completed" else "incomplete"
        for place, item in enumerate(self._items):
            said += (
                self._closed_call(place) if item["type"] == "function_call" else self._closed_message(place, text, citations)
            )
            item["status"] = status
            said += self._event("response.output_item.done", output_index=place, item=item)
        kind = "response.incomplete" if outcome["status"] == "incomplete" else "response.completed"
        return said + self._event(kind, response=self._head.body(output=self._items, usage=usage_of(usage), **outcome))

    def _closed_call(self, place: int) -> bytes:
        item = self._items[place]
        kind = "response.function_call_arguments.done"
        return self._event(kind, item_id=item["id"], output_index=place, name=item["name"], arguments=item["arguments"])

    def _closed_message(self, place: int, text: str | None, citations: tuple[Citation, ...]) -> bytes:
        part, at, said = self._items[place]["content"][0], self._part_of(place), b""
        part["text"] = part["text"] if text is None else text
        for number, citation in enumerate(citations):
            part["annotations"].append(cited(citation))
            said += self._event(
                "response.output_text.annotation.added", **at, annotation_index=number, annotation=cited(citation)
            )
        said += self._event("response.output_text.done", **at, text=part["text"], logprobs=[])
        return said + self._event("response.content_part.done", **at, part=part)

    def failure(self, error: BaseException) -> bytes:
        """The response failed, in the midst of it."""
        words = described(error)["message"] if isinstance(error, PerenneError) else "something went wrong here"
        body = self._head.body("failed", self._items, error={"code": "server_error", "message": words})
        return self._event("response.failed", response=body)
