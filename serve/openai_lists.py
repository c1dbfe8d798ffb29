"""Lists as OpenAI's clients page them: `after` is the id of the last one seen."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Query

from perenne.messages.records import Page
from serve.answers import json_bytes

T = TypeVar("T")
Order = Literal["asc", "desc"]
AfterId = Annotated[str | None, Query(max_length=300, description="The id of the last one seen.")]
PAGE = 500  # rows of one read
SCANNED_MAX = 100_000  # rows that one list looks through at most


def place_of(row: Any) -> str:
    """Where a list that is ordered by birth and id goes on after this row: what the store gives as `next` for it."""
    return json_bytes((row.created_at, row.id)).decode()


def listed(bodies: Sequence[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page."""
    ends = {"first_id": bodies[0]["id"], "last_id": bodies[-1]["id"]} if bodies else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(bodies), "has_more": more, **ends}


async def every(read: Callable[[int, str | None], Awaitable[Page[T]]], at_most: int = SCANNED_MAX) -> list[T]:
    """All rows of a list, page by page."""
    rows: list[T] = []
    after: str | None = None
    while len(rows) < at_most:
        page = await read(min(PAGE, at_most - len(rows)), after)
        rows += page.items
        after = page.next
        if after is None:
            break
    return rows


def cut(rows: Sequence[T], limit: int, after: str | None, before: str | None = None) -> tuple[list[T], bool]:
    """The page after (or before) the row of that id, and whether there are more; an id that is not there is the edge of the list."""
    ids: list[Any] = [getattr(row, "id") for row in rows]  # noqa: B009
    if after is not None and after in ids:
        rows = rows[ids.index(after) + 1 :]
    elif before is not None and before in ids:
        rows = rows[: ids.index(before)]
    return list(rows[:limit]), len(rows) > limit
