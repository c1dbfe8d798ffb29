"""Ray calls `without_spare_processes` before it starts a node (RAY_START_HOOK): what nobody here uses is left out, and what is not
needed for answering does not hold up what is."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

from cluster.environment import CHECKOUT, MARK, ready_path

log = logging.getLogger(__name__)

DASHBOARD_NICE = 15  # its figures may wait, answers may not
# The dashboard needs two seconds of a core to load: it begins once the file is there that says that all is ready, or after two minutes.
_WAIT = ("/bin/sh", "-c", 'n=0; until [ -e "$0" ] || [ $n -ge 120 ]; do sleep 1; n=$((n+1)); done; exec "$@"')


def without_spare_processes(parameters: Any, head: bool) -> None:
    """No Ray Client server: clients of ours are drivers on this machine or come over HTTP. 50 MB and a port less. The dashboard
    comes up after the rest instead of before it. Workers are forked (`cluster/zygote.py`)."""
    if head:
        parameters.ray_client_server_port = None
        parameters.worker_path = str(CHECKOUT / "cluster" / "worker.py")
        from ray._private import services

        rays = cast("Any", services)
        rays.start_api_server = dashboard_aside(rays.start_api_server)


def dashboard_aside(start: Callable[..., tuple[str, Any]]) -> Callable[..., tuple[str, Any]]:
    """Ray's `start_api_server`, without its wait for the dashboard's answer; the dashboard begins last and gives way to all else."""

    def start_api_server(include: bool | None, raises: bool, host: str, *given: Any, port: int, **more: Any) -> tuple[str, Any]:
        with _known_address(f"{host}:{port}"), _last():
            url, process = start(include, raises, host, *given, port=port, **more)
        if process is not None:
            try:
                os.setpriority(os.PRIO_PROCESS, process.process.pid, DASHBOARD_NICE)
            except OSError as error:
                log.warning("the dashboard keeps its priority: %s", error)
        return url, process

    return start_api_server


@contextlib.contextmanager
def _known_address(address: str) -> Iterator[None]:
    """What Ray would wait for: the address that the dashboard writes down once it listens, which is the one it was given."""
    from ray.experimental import internal_kv

    ours: Any = internal_kv
    asked = ours._internal_kv_get

    def get(key: Any, *given: Any, **more: Any) -> Any:
        return address.encode()

    ours._internal_kv_get = get
    try:
        yield
    finally:
        ours._internal_kv_get = asked


@contextlib.contextmanager
def _last() -> Iterator[None]:
    """What Ray starts here waits for the instance to be ready."""
    from ray._private import services

    rays: Any = services
    begin = rays.start_ray_process

    def start_ray_process(command: list[str], *given: Any, **more: Any) -> Any:
        return begin([*_WAIT, ready_path(os.environ[MARK]), *command], *given, **more)

    rays.start_ray_process = start_ray_process
    try:
        yield
    finally:
        rays.start_ray_process = begin
