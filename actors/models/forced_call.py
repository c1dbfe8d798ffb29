"""A call of a tool that must be: `tool_choice` `required`, or one tool by its name. llama.cpp takes both and binds nothing by them with
many a chat template, so the answer is bound here: by a JSON schema of `{"name": …, "arguments": …}`, told on as a call."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from perenne.errors import InvalidRequest
from perenne.ids import new_id

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')
_TAIL = re.compile(r"[\s}]*\Z")  # may be of the arguments, or close what is around them
_NOTE = (
    "Answer with a call of one of these functions, as JSON with the fields `name` and `arguments`, and nothing else. The "
    "arguments follow the function's JSON schema. The functions, one a line:\n"
)


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """The tools of which one must be called."""

    tools: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, extra: dict[str, Any]) -> "ForcedCall | None":
        """What a request asks for; None where the model is free. InvalidRequest when there is no such tool, or a form of the
        answer is asked for too."""
        choice: Any = extra.get("tool_choice")
        tools: list[dict[str, Any]] = [tool["function"] for tool in extra.get("tools") or ()]
        if isinstance(choice, dict):
            name: str = cast("dict[str, Any]", choice)["function"]["name"]
            tools = [tool for tool in tools if tool["name"] == name]
            if not tools:
                raise InvalidRequest(f"tool_choice: expected the name of a tool, got {name!r}", "tool_choice")
        elif choice != "required":
            return None
        if not tools:
            raise InvalidRequest("tool_choice: expected tools of which one is to be called, got none", "tool_choice")
        if (extra.get("response_format") or {}).get("type", "text") != "text":
            words = "response_format: an answer that must be a call of a tool has no other form; leave it out"
            raise InvalidRequest(words, "response_format")
        return cls(tuple(tools))

    def schema(self) -> dict[str, Any]:
        """What binds the answer. Each tool's own schema stands under a name of its own, and what it refers to within itself too."""
        forms: list[dict[str, Any]] = []
        for number, tool in enumerate(self.tools):
            arguments = {"$ref": f"#/$defs/tool{number}"}
            properties = {"name": {"const": tool["name"]}, "arguments": arguments}
            required = ["name", "arguments"]
            forms.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
        own = {
            f"tool{number}": _moved(tool.get("parameters") or {"type": "object"}, f"#/$defs/tool{number}")
            for number, tool in enumerate(self.tools)
        }
        return {"anyOf": forms, "$defs": own}

    def note(self) -> str:
        """What a model is told whose chat template says nothing of tools."""
        shown = ({name: tool[name] for name in ("name", "description", "parameters") if tool.get(name)} for tool in self.tools)
        return _NOTE + "\n".join(json.dumps(tool, ensure_ascii=False) for tool in shown)


def _moved(schema: Any, to: str) -> Any:
    """A schema that stands at another place: what it refers to within itself stands there too."""
    if isinstance(schema, list):
        return [_moved(each, to) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    moved = {name: _moved(value, to) for name, value in fields.items()}
    if isinstance(ref := fields.get("$ref"), str) and ref.startswith("#"):
        moved["$ref"] = to + ref[1:]
    return moved


@dataclass(slots=True)
class CallTold:
    """The bound text as it comes, as pieces of one call: its name first, then its arguments."""

    _text: str = ""
    _told: int = 0  # of the text, up to here; 0 until the name is whole
    is_whole: bool = field(default=False, init=False)

    def take(self, text: str) -> tuple[dict[str, Any], ...]:
        """The pieces that these words complete."""
        self._text += text
        pieces: list[dict[str, Any]] = []
        if not self._told:
            head = _HEAD.match(self._text)
            if head is None:
                return ()
            self._told = head.end()
            function = {"name": json.loads(head[1]), "arguments": ""}
            pieces.append({"index": 0, "id": new_id("call"), "type": "function", "function": function})
        end = cast("re.Match[str]", _TAIL.search(self._text, self._told)).start()
        return (*pieces, *self._up_to(end))

    def end(self) -> tuple[dict[str, Any], ...]:
        """What was held back; `is_whole` from now on says whether the call came to its end."""
        if not self._told:
            return ()
        try:
            json.loads(self._text)
        except ValueError:  # it was cut
            return self._up_to(len(self._text))
        self.is_whole = True
        return self._up_to(len(self._text.rstrip().removesuffix("}").rstrip()))

    def _up_to(self, end: int) -> tuple[dict[str, Any], ...]:
        news, self._told = self._text[self._told : end], max(self._told, end)
        return ({"index": 0, "function": {"arguments": news}},) if news else ()
