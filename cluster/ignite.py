"""`python -m cluster.ignite`: the short-lived driver that puts the Supervisor into a fresh control plane, and the first user
into a fresh database. The root process starts it and reads its words, one JSON object a line; it never loads Ray itself,
so that no death of Ray's can take it along.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import os
import sys
import threading
from typing import Any, cast

from cluster import applications
from cluster.applied import Applied
from cluster.first_boot import first_boot
from cluster.instance import read_instance
from cluster.supervisor import Supervisor
from cluster.tree import Child, build_tree, load, spec_hash
from perenne.client import RayDirectory
from perenne.names import NAMESPACE, SUPERVISOR
from perenne.settings import Settings, load_settings
from perenne.store import Store

_PULSE_WITHIN_S = 60.0


def _say(event: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def _make_supervisor() -> Any:
    import ray

    ray = cast("Any", ray)
    remote = ray.remote(concurrency_groups=Supervisor.CONCURRENCY)(Supervisor)
    return remote.options(
        name=SUPERVISOR,
        namespace=NAMESPACE,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
        get_if_exists=True,
    ).remote(settings=load_settings())


async def _first_boot() -> None:
    settings = load_settings()
    secret = await first_boot(Store(RayDirectory(), settings.store.readers), settings)
    _say("key", secret=secret)


async def _await_pulse(supervisor: Any) -> None:
    async with asyncio.timeout(_PULSE_WITHIN_S):
        await supervisor.health.remote()


def _deploy(settings: Settings) -> None:
    """Hand Serve its applications, which take longest to come up, while the Supervisor starts. What goes wrong here the
    Supervisor does again."""
    try:
        for child, error in applications.deploy(_applications(settings), settings):
            _say("error", message=f"{child.name} could not be deployed: {error}")
    except Exception as error:
        _say("error", message=f"Serve could not be started: {error}")


def _applications(settings: Settings) -> list[Child]:
    return [child for child in build_tree(settings) if child.kind == "application"]


def _load() -> None:
    """Import what will be needed, while Ray's head starts. What can't be imported is told when it is deployed."""
    with contextlib.suppress(Exception):
        importlib.import_module("ray.serve")
        for child in _applications(load_settings()):
            load(child.code)


def main() -> int:
    import ray

    _load()
    if sys.stdin.readline().strip() != "go":  # loaded while Ray's head starts; the root says when it is there
        return 1
    instance = read_instance(os.environ["PERENNE_HOME"])
    if instance is None:
        _say("error", message="there is no instance on this home")
        return 1
    cast("Any", ray).init(
        address=instance.ray_address,
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    settings = load_settings()
    applied = Applied(settings)
    applied.read()
    deploying = threading.Thread(target=_deploy, args=(settings,), name="deploying")
    fresh = not applied.serve_begun
    if fresh:  # written down before there is a Supervisor, which would do the same
        applied.note_deploying({child.name: spec_hash(child, settings) for child in _applications(settings)})
    supervisor = _make_supervisor()
    if fresh:
        deploying.start()
    asyncio.run(_await_pulse(supervisor))
    _say("supervisor")
    asyncio.run(_first_boot())
    if fresh:
        deploying.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
