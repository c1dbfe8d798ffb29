"""The ports of one instance: a block of its own, so that two instances on one machine never meet.

Ray's own defaults clash silently between instances (8500), so every port that Ray, Serve and HAProxy open is named here.
"""

import socket
from collections.abc import Callable

from perenne.errors import ConfigurationError

BLOCK = 200  # ports in a block
FIRST, LAST = 20_000, 32_000  # below Linux' ephemeral range (32768 and up), which connections take from at random
WORKERS = range(60, BLOCK)  # offsets that Ray's workers listen on: one port each

_OFFSETS = {
    "gcs": 0,
    "dashboard": 1,
    "agent_http": 2,
    "agent_grpc": 3,
    "runtime_env_agent": 4,
    "metrics_export": 5,
    "node_manager": 6,
    "object_manager": 7,
    "ray_client": 8,
    "dashboard_metrics": 9,
    "autoscaler_metrics": 10,
    "haproxy_metrics": 11,
    "haproxy_stats": 12,
    "fallback_http": 13,
    "fallback_grpc": 14,
    "serve_grpc": 15,
}
REPLICA_HTTP = (20, 39)  # offsets that Serve replicas take HTTP from HAProxy on
REPLICA_GRPC = (40, 59)


class Ports:
    """Names for the ports of the block that begins at `first`."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __getitem__(self, name: str) -> int:
        return self.first + _OFFSETS[name]

    def span(self, offsets: tuple[int, int]) -> tuple[int, int]:
        return self.first + offsets[0], self.first + offsets[1]

    @property
    def workers(self) -> tuple[int, int]:
        return self.first + WORKERS.start, self.first + WORKERS.stop - 1

    @property
    def fixed(self) -> tuple[int, ...]:
        return tuple(self.first + offset for offset in _OFFSETS.values())


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a listener could take this port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_block(seed: int, free: Callable[[int], bool] = is_free) -> int:
    """The first port of a block whose fixed ports and replica ports are free, looked for from a place that the seed picks, so
    that instances started together begin at different places. Raises ConfigurationError when there is none."""
    blocks = (LAST - FIRST) // BLOCK
    for step in range(blocks):
        first = FIRST + ((seed + step) % blocks) * BLOCK
        wanted = [*Ports(first).fixed, *range(first + REPLICA_HTTP[0], first + REPLICA_GRPC[1] + 1)]
        if all(free(port) for port in wanted):
            return first
    raise ConfigurationError(f"no {BLOCK} free ports in a row between {FIRST} and {LAST}: name one with PERENNE_PORT_BASE")
