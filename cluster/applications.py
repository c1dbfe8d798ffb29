"""Serve applications: deployed by import string, looked at, ended. Blocking calls, each in a thread of the Supervisor's."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from cluster.tree import Child, load
from perenne.settings import Settings

_CONTROLLER, _NAMESPACE = "SERVE_CONTROLLER_ACTOR", "serve"  # ray.serve._private.constants
_REPLICA = (
    "SERVE_REPLICA::"  # how the name of a replica's actor begins; then application, `#`, deployment, `#`, and what is its own
)
_LOOK_S = 0.05


def _serve() -> Any:
    from ray import serve as ray_serve

    return cast("Any", ray_serve)


def deploy(children: Sequence[Child], settings: Settings) -> list[tuple[Child, Exception]]:
    """Start Serve if needed and hand it these applications; returns before they run, with those that could not be handed over.
    Raises when Serve does not start."""
    serve = _serve()
    options = {"host": settings.host, "port": settings.port, "location": "HeadOnly"}
    refused: list[tuple[Child, Exception]] = []
    with ThreadPoolExecutor(1, "serve-start") as aside:  # it waits for the proxies; the replicas need not
        started = aside.submit(serve.start, proxy_location="HeadOnly", http_options=options)
        while not started.done() and not _has_controller():
            time.sleep(_LOOK_S)
        if started.done():
            started.result()
        targets: list[Any] = []
        for child in children:
            try:
                bound = load(child.code)({"settings": settings.model_dump(exclude={"store": {"url"}})})
                targets.append(serve.RunTarget(target=bound, name=child.name, route_prefix=child.route))
            except Exception as error:
                refused.append((child, error))
        if targets:  # all at once: a second call would wait for the proxies
            serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
        started.result()
    return refused


def _has_controller() -> bool:
    import ray

    try:
        cast("Any", ray).get_actor(_CONTROLLER, namespace=_NAMESPACE)
    except ValueError:
        return False
    return True


def look() -> dict[str, tuple[str, str]]:
    """State and message of each application, by name; empty when Serve is not up. Asked several times a second while an instance starts:
    `serve.status()` also unpacks the whole configuration of each, most of what it costs."""
    from ray.serve import context

    client: Any = cast("Any", context)._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for seen in client.list_serve_statuses():
        parts = [seen.app_status.message, *(deployment.message for deployment in seen.deployment_statuses)]
        found[seen.name] = (str(seen.app_status.status.value), " ".join(part for part in parts if part))
    return found


def replicas() -> dict[str, frozenset[str]]:
    """The names of the replicas that are there, by application. Each new one has a name of its own."""
    import ray

    found: dict[str, set[str]] = {}
    for held in cast("Any", ray).util.list_named_actors(all_namespaces=True):
        name: str = held["name"]
        if held["namespace"] == _NAMESPACE and name.startswith(_REPLICA):
            found.setdefault(name.removeprefix(_REPLICA).partition("#")[0], set()).add(name)
    return {name: frozenset(members) for name, members in found.items()}


def end_replicas(name: str) -> int:
    """End the processes of an application; Serve starts others. Returns how many there were."""
    import ray

    rays: Any = ray
    found = replicas().get(name, frozenset())
    for replica in found:
        with contextlib.suppress(ValueError):  # it ended meanwhile
            rays.kill(rays.get_actor(replica, namespace=_NAMESPACE))
    return len(found)


def take_out(name: str) -> None:
    """End an application and have Serve forget it; returns before its replicas are gone."""
    _serve().delete(name, _blocking=False)


def shut_down() -> None:
    """End every application, the proxy and the controller."""
    _serve().shutdown()


async def answers(host: str, port: int, within_s: float) -> bool:
    """Whether the edge's port gives a 200 to /livez."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await writer.drain()
            line = await reader.readline()
            return b" 200 " in line
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
