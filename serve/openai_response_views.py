"""What `/v1/responses` answers, whole and as events; see `serve.openai_views`."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from serve.openai_chat_views import CITED, CitedUrl
from serve.openai_views import shown

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class FlatCitation(CitedUrl):
    """A citation, flat as annotations of responses are."""

    type: Literal["url_citation"]


class OutputText(TypedDict):
    type: Literal["output_text"]
    text: str
    annotations: list[FlatCitation]
    logprobs: list[dict[str, Any]]


class MessageOutput(TypedDict):
    """The assistant's words."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: ItemStatus
    content: list[OutputText]


class CallOutput(TypedDict):
    """A call of a tool; `arguments` is JSON as the model wrote it."""

    id: str
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = Annotated[MessageOutput | CallOutput, Field(discriminator="type")]


class CachedInput(TypedDict):
    cached_tokens: int
    cache_write_tokens: int


class ReasonedOutput(TypedDict):
    reasoning_tokens: int


class ResponseUsage(TypedDict):
    input_tokens: int
    input_tokens_details: CachedInput
    output_tokens: int
    output_tokens_details: ReasonedOutput
    total_tokens: int


class ResponseError(TypedDict):
    code: Literal["server_error"]
    message: str


class Incomplete(TypedDict):
    reason: Literal["max_output_tokens"]


class TextAsked(TypedDict):
    format: dict[str, Any]


_PART = {
    "type": "output_text",
    "text": "It was built in 1863.",
    "annotations": [{"type": "url_citation", **CITED}],
    "logprobs": [],
}
_ITEM = {"id": "msg_0123", "type": "message", "role": "assistant", "status": "completed", "content": [_PART]}
RESPONSE: Any = {
    "id": "resp_0123",
    "object": "response",
    "created_at": 1764115200,
    "model": "perenne",
    "store": True,
    "status": "completed",
    "output": [_ITEM],
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
    "usage": {
        "input_tokens": 412,
        "input_tokens_details": {"cached_tokens": 96, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 421,
    },
}


@shown(**RESPONSE)
class ResponseObject(TypedDict):
    """`store`: whether it is kept, as a conversation of yours."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    store: bool
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    output: list[OutputItem]
    error: ResponseError | None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    parallel_tool_calls: bool
    previous_response_id: str | None
    temperature: float | None
    top_p: float | None
    text: TextAsked
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    truncation: Literal["disabled"]
    usage: ResponseUsage | None


@shown(id="resp_0123", object="response", deleted=True)
class ResponseDeleted(TypedDict):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputText(TypedDict):
    type: Literal["input_text"]
    text: str


class MessageInput(TypedDict):
    """What was asked, or said before."""

    id: str
    type: Literal["message"]
    role: Literal["user", "system"]
    status: Literal["completed"]
    content: list[InputText]


_ASKED = {"type": "input_text", "text": "When was the lighthouse built?"}
_INPUT = {"id": "msg_0122", "type": "message", "role": "user", "status": "completed", "content": [_ASKED]}


@shown(object="list", data=[_INPUT], has_more=False, first_id="msg_0122", last_id="msg_0122")
class InputItemList(TypedDict):
    object: Literal["list"]
    data: list[MessageInput | MessageOutput]
    has_more: bool
    first_id: str | None
    last_id: str | None


class _Event(TypedDict):
    sequence_number: int


class ResponseBegun(_Event):
    type: Literal["response.created", "response.in_progress"]
    response: ResponseObject


class ResponseOver(_Event):
    """The last event, with the whole."""

    type: Literal["response.completed", "response.incomplete", "response.failed"]
    response: ResponseObject


class ItemEvent(_Event):
    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class _OfPart(_Event):
    item_id: str
    output_index: int
    content_index: int


class PartEvent(_OfPart):
    type: Literal["response.content_part.added", "response.content_part.done"]
    part: OutputText


@shown(
    type="response.output_text.delta",
    sequence_number=4,
    item_id="msg_0123",
    output_index=0,
    content_index=0,
    delta=" built",
    logprobs=[],
)
class TextDelta(_OfPart):
    type: Literal["response.output_text.delta"]
    delta: str
    logprobs: list[dict[str, Any]]


class TextDone(_OfPart):
    type: Literal["response.output_text.done"]
    text: str
    logprobs: list[dict[str, Any]]


class AnnotationAdded(_OfPart):
    type: Literal["response.output_text.annotation.added"]
    annotation_index: int
    annotation: FlatCitation


class ArgumentsDelta(_Event):
    type: Literal["response.function_call_arguments.delta"]
    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(_Event):
    type: Literal["response.function_call_arguments.done"]
    item_id: str
    output_index: int
    name: str
    arguments: str


ResponseEvent = Annotated[
    ResponseBegun
    | ResponseOver
    | ItemEvent
    | PartEvent
    | TextDelta
    | TextDone
    | AnnotationAdded
    | ArgumentsDelta
    | ArgumentsDone,
    Field(discriminator="type"),
]
