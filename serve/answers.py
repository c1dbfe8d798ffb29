"""Answers as JSON bytes: dataclasses straight through orjson, no validation of what is ours."""

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import orjson
from starlette.responses import Response


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def json_bytes(value: Any) -> bytes:
    """JSON of dataclasses and plain data. NaN becomes null; half a surrogate pair becomes a replacement character."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
        return text.encode("utf-8", "replace")


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(json_bytes(value), status, headers, "application/json")
