"""Hears that Serve ends this replica when the end begins, not when it is over.

Serve waits for what is under way, kills the replica when its time is up, and tells the application (its lifespan) only if all
requests ended before: an open stream would be cut without a word. Serve has no hook for the beginning, so that its own method is
wrapped here; where a version of Ray has it elsewhere, the streams are cut as they were."""

import logging
from collections.abc import Callable
from typing import Any, cast

log = logging.getLogger(__name__)


def when_ending(tell: Callable[[], None]) -> bool:
    """Call `tell`, from any thread, when Serve begins to end the replica that runs in this process. False: there is none."""
    from ray._private import worker

    ours: Any = worker
    actors = cast("dict[Any, Any]", getattr(ours.global_worker, "actors", {}))
    replicas = [held for actor in actors.values() if (held := getattr(actor, "_replica_impl", None)) is not None]
    wrapped = [replica for replica in replicas if wrap(replica, tell)]
    if not wrapped:
        log.warning("this replica will not hear of its end: its streams will be cut then")
    return bool(wrapped)


def wrap(replica: Any, tell: Callable[[], None]) -> bool:
    """Have the replica's `perform_graceful_shutdown` call `tell` first."""
    shut_down = getattr(replica, "perform_graceful_shutdown", None)
    if shut_down is None:
        return False

    async def perform_graceful_shutdown(*given: Any, **more: Any) -> Any:
        tell()
        return await shut_down(*given, **more)

    replica.perform_graceful_shutdown = perform_graceful_shutdown
    return True
