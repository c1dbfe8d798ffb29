"""How one room reaches another: by name, resolved lazily and again after a death, never by a handle for life."""

from collections.abc import AsyncIterator
from typing import Any, Protocol


class Directory(Protocol):
    """Calls by name. Picklable, so that it can be a constructor argument. Names are those of `perenne.names`."""

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        """One call, once. Raises what the owner raised; `Unavailable` when it is away or died meanwhile (a write may have
        happened); `DeadlineExceeded` after `timeout_s`."""
        ...

    def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> AsyncIterator[Any]:
        """The items of one streaming call. `DeadlineExceeded` when none came for `silence_s`, `Unavailable` when the
        producer died. Leaving the loop ends the producer."""
        ...
