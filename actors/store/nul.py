"""The one character that PostgreSQL's text cannot hold: kept as U+FFFD in both databases, as CommonMark does. The length stays, and
with it every place in the text."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

NUL, KEPT = "\0", "\ufffd"


def without_nul(value: T) -> T:
    """The value with no NUL in any text within: of records, tuples, lists and dictionaries."""
    kept: Any = value
    if isinstance(value, str):
        kept = value.replace(NUL, KEPT)
    elif isinstance(value, tuple | list):
        kept = type(value)(without_nul(each) for each in value)
    elif isinstance(value, dict):
        kept = {without_nul(name): without_nul(each) for name, each in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        kept = replace(value, **{each.name: without_nul(getattr(value, each.name)) for each in fields(value)})
    return kept
