"""The edge under Ray Serve: `serve.app:edge` builds the application from `{"settings": …}`."""

from typing import Any

from fastapi import FastAPI
from ray import serve as ray_serve

from perenne import logs, metrics, names
from perenne.client import RayDirectory, ray_instrument
from perenne.settings import Settings
from serve.http import build_app
from serve.parting import when_ending
from serve.request_ids import alone

ROOM_BESIDE = 64  # requests that Serve lets in beyond our own bound, so that ours answers, in our envelope, first
DRAIN_WITHIN_S = 4.0  # what is under way is cut after this; streams have had their last word before


def edge(args: dict[str, Any]) -> Any:
    """The Serve application. `args["settings"]` is `Settings.model_dump()`."""
    settings = Settings.model_validate(args["settings"])

    def build() -> FastAPI:
        logs.begin(names.EDGE, settings)
        alone()
        app = build_app(settings, RayDirectory(settings.ray_dir))
        when_ending(app.state.edge.close)
        metrics.begin(names.EDGE, ray_instrument)
        return app

    @ray_serve.deployment(
        name="Edge",
        num_replicas=settings.edge.replicas,
        max_ongoing_requests=settings.edge.ongoing_requests_max + settings.edge.sockets_max + ROOM_BESIDE,
        health_check_period_s=max(1.0, settings.health_period_s),
        health_check_timeout_s=5.0,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=DRAIN_WITHIN_S,
        ray_actor_options={"num_cpus": 0},
    )
    @ray_serve.ingress(build)
    class Edge:
        """One replica."""

        async def check_health(self) -> None:
            """Healthy while its event loop answers: an owner that is away is a state, no reason to replace the edge."""

    return Edge.bind()
