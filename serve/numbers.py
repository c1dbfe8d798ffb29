"""Numbers of JSON bodies."""

from typing import Any, cast


def with_whole_numbers(given: Any) -> Any:
    """A body's fields with 10.0 as 10: JSON has one kind of number, and what is whole is an integer. What is no object stays."""
    if not isinstance(given, dict):
        return given
    fields = cast("dict[str, Any]", given)
    return {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in fields.items()}
