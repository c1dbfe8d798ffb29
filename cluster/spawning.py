"""Actors as Ray knows them: found or made by name, ended by handle. Blocking calls, each in a thread of the Supervisor's."""

from typing import Any, cast

from cluster.tree import Child, load
from perenne import names
from perenne.settings import Settings


def _ray() -> Any:
    import ray

    return cast("Any", ray)


def find(name: str) -> Any | None:
    """The handle of a living (or restarting) actor of ours."""
    try:
        return _ray().get_actor(name, namespace=names.NAMESPACE)
    except ValueError:
        return None


def make(child: Child, settings: Settings) -> Any:
    """Find the actor or make it; the name is unique in the control plane, so that two callers get one actor."""
    from perenne.client import RayDirectory

    kind = load(child.code)
    remote = _ray().remote(concurrency_groups=kind.CONCURRENCY)(kind)
    return remote.options(
        name=child.name,
        namespace=names.NAMESPACE,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
        get_if_exists=True,
    ).remote(name=child.name, settings=settings, directory=RayDirectory(settings.ray_dir))


def end(name: str, *, restart: bool) -> bool:
    """End the actor's process at once; with `restart` Ray starts another. False when there is no such actor."""
    handle = find(name)
    if handle is None:
        return False
    _ray().kill(handle, no_restart=not restart)
    return True


def session() -> str:
    """Names this run of the control plane."""
    return str(_ray().get_runtime_context().worker.node.session_name)
