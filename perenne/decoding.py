"""From JSON-like data to the dataclasses of `perenne.messages`."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The one TypeAdapter of a type."""
    return TypeAdapter(kind)
