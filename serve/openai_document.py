"""What the OpenAPI document says of `/v1` alone: which refusals a route gives, and the form of each event of a stream."""

import json
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from serve.openai_views import OpenAIErrorEnvelope

if TYPE_CHECKING:
    from serve.routes import Line

REF = "#/components/schemas/{model}"
_ALWAYS: dict[int, str] = {  # OpenAI's clients are told 400 where others get a 422
    400: "The request is not as expected, or cannot be done as it stands.",
    401: "No key, or none that is valid.",
    403: "The key's scope does not reach this.",
    404: "There is no such thing, or it is not yours.",
    429: "Too many requests for this key; see Retry-After.",
    500: "The engine failed, or something here did.",
    503: "Busy, or a part is restarting; see Retry-After. The same Idempotency-Key makes another try harmless.",
    504: "A part did not answer in time; what was to be written may be. The same Idempotency-Key makes another try harmless.",
}
_OF_BODIES = {413: "The body is too large."}
# Of what names nothing that could be missing there is no 404.
_NAMELESS = (("GET", "/v1/models"), ("GET", "/v1/vector_stores"), ("POST", "/v1/files"))


def refusals_of(line: "Line") -> dict[int, str]:
    """The statuses of a route's errors, beside those that its line names."""
    told = dict(_ALWAYS)
    if (line.method, line.path) in _NAMELESS:
        del told[404]
    return told | _OF_BODIES if line.method == "POST" else told


def event_of(line: "Line") -> dict[str, Any]:
    """The form of one event of a route's stream: its `data` is JSON of the type `pieces`, or the word that ends the stream. As an
    example the first that one of the forms has."""
    named, form = _schema(line.pieces)
    examples = next(told["examples"] for told in named.values() if "examples" in told and "error" not in told["examples"][0])
    told = {"type": "string", "contentMediaType": "application/json", "contentSchema": form}
    data = told if line.ending is None else {"anyOf": [told, {"type": "string", "const": line.ending}]}
    return {
        "type": "object",
        "properties": {"event": {"type": "string"}, "data": data},
        "required": ["data"],
        "examples": [{"data": json.dumps(example)} for example in examples],
    }


def schemas_of(table: "tuple[Line, ...]") -> dict[str, Any]:
    """The components of `/v1`'s answers and events, with the examples whole: FastAPI takes what is null out of them."""
    found = _schema(OpenAIErrorEnvelope)[0]
    for line in table:
        if line.path.startswith("/v1/"):
            for told in (line.answer, line.pieces):
                found |= {} if told is None else _schema(told)[0]
    return found


def _schema(pieces: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The definitions of a type, and what stands for it."""
    stands, forms = TypeAdapter.json_schemas([("pieces", "serialization", TypeAdapter(pieces))], ref_template=REF)
    return forms.get("$defs", {}), dict(stands["pieces", "serialization"])
