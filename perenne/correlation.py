"""Which request and which run a piece of work belongs to: what its log lines are found by (docs/operations.md).

The edge gives each request an id, the host of answers says which run it works on. Calls carry both, over lines and by handles
(`perenne.line`, `perenne.client`); tasks and threads of the work inherit them. One variable holds the two, so that a call looks once."""

import functools
import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar, cast

T = TypeVar("T")
Shell = TypeVar("Shell", bound=type[Any])

Ids = tuple[str | None, str | None]  # of the request, of the run

KEYWORD = "_ids"  # under which a call by handle carries them
_IDS: ContextVar[Ids | None] = ContextVar("perenne_ids", default=None)

ids = _IDS.get  # those of the work that is done here; None: nobody's in particular


def request_id() -> str | None:
    """The request that this work is done for."""
    held = _IDS.get()
    return None if held is None else held[0]


def run_id() -> str | None:
    """The run that this work is done for."""
    held = _IDS.get()
    return None if held is None else held[1]


def work_for(ids: Ids | None) -> None:
    """From here on this task works for these, and what it starts does."""
    _IDS.set(ids)


def work_on(run_id: str) -> None:
    """From here on this task works on that run, for the request that it works for."""
    _IDS.set((request_id(), run_id))


def level() -> int:
    """Of a line that says what was done: worth keeping when somebody may look for it."""
    return logging.DEBUG if _IDS.get() is None else logging.INFO


def inherited(work: Callable[..., T]) -> Callable[..., T]:
    """The work as it is to be given to a pool of threads, which inherit nothing by themselves."""
    return work if _IDS.get() is None else functools.partial(copy_context().run, work)


def takes_ids(shell: Shell) -> Shell:
    """A class whose async methods take the ids that a call by handle carries. Ray looks at signatures before it sends a call: the
    keyword is part of them, and what is wrapped can't be seen, for Ray would look at that."""
    for name, method in tuple(vars(shell).items()):
        if name.startswith("_"):
            continue
        if inspect.isasyncgenfunction(method):
            setattr(shell, name, _signed(_streaming(method), method))
        elif inspect.iscoroutinefunction(method):
            setattr(shell, name, _signed(_answering(method), method))
    return shell


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def answer(self: Any, *args: Any, _ids: Ids | None = None, **kwargs: Any) -> Any:
        if _ids is not None:
            _IDS.set(_ids)
        return await method(self, *args, **kwargs)

    return answer


def _streaming(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(self: Any, *args: Any, _ids: Ids | None = None, **kwargs: Any) -> Any:
        if _ids is not None:
            _IDS.set(_ids)
        items = method(self, *args, **kwargs)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    return stream


def _signed(taking: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)
    given = list(signature.parameters.values())
    keyword = inspect.Parameter(KEYWORD, inspect.Parameter.KEYWORD_ONLY, default=None)
    place = next((n for n, one in enumerate(given) if one.kind is inspect.Parameter.VAR_KEYWORD), len(given))
    seen = cast("Any", taking)
    seen.__signature__ = signature.replace(parameters=[*given[:place], keyword, *given[place:]])
    del seen.__wrapped__
    return taking
