"""Ray calls this before it starts a node (RAY_START_HOOK): the processes that nobody here uses are left out."""

from typing import Any


def without_spare_processes(parameters: Any, head: bool) -> None:
    """No Ray Client server: clients of ours are drivers on this machine or come over HTTP. 50 MB and a port less."""
    if head:
        parameters.ray_client_server_port = None
