"""Lists by the piece: what a page's `next` holds is where it ended, so that rows that come or go in between shift nothing."""

from typing import Any

import orjson

from perenne.errors import InvalidRequest

LIMIT_MAX = 1_000


def bounded(limit: int) -> int:
    """A page's length, within what a page may hold."""
    return max(1, min(limit, LIMIT_MAX))


def cursor(*place: float | str) -> str:
    return orjson.dumps(place).decode()


def place(after: str, *kinds: type) -> tuple[Any, ...]:
    """The parts of a cursor; InvalidRequest when it isn't one of ours."""
    try:
        parts = orjson.loads(after)
    except orjson.JSONDecodeError:
        parts = None
    if not isinstance(parts, list) or len(parts) != len(kinds):
        raise InvalidRequest("after: expected the `next` of an earlier page", "after")
    for part, kind in zip(parts, kinds, strict=True):
        if not isinstance(part, int | float if kind is float else kind):
            raise InvalidRequest("after: expected the `next` of an earlier page", "after")
    return tuple(parts)
