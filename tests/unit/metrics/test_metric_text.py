"""What Ray's metrics port says, read: lines as an instance gave them."""

import http.server
import threading

import pytest

from cluster import metric_text
from cluster.metrics_command import HISTOGRAMS, configuration, in_words

_RAY = 'Component="core_worker",NodeAddress="127.0.0.1",SessionName="session_1",Version="2.60.0",WorkerId="{worker}"'
_END = 'otel_scope_name="ray._private.telemetry",otel_scope_schema_url="",otel_scope_version=""'
TEXT = f"""# HELP ray_perenne_sockets_open WebSockets that are open
# TYPE ray_perenne_sockets_open gauge
ray_perenne_sockets_open{{{_RAY.format(worker="a")},actor="edge",{_END}}} 2.0
ray_perenne_sockets_open{{{_RAY.format(worker="b")},actor="edge",{_END}}} 3.0
ray_perenne_http_requests_total{{actor="edge",method="GET",route="/api/projects/{{project}}",status="200",{_END}}} 7.0
ray_perenne_http_request_seconds_bucket{{actor="edge",le="0.1",route="/ws",{_END}}} 1.0
ray_perenne_http_request_seconds_bucket{{actor="edge",le="+Inf",route="/ws",{_END}}} 2.0
ray_perenne_http_request_seconds_count{{actor="edge",route="/ws",{_END}}} 2.0
ray_perenne_http_request_seconds_sum{{actor="edge",route="/ws",{_END}}} 0.3
ray_perenne_odd_total{{actor="a \\"b\\", c",{_END}}} 1.0
ray_serve_requests_total{{actor="x"}} 4.0
"""


def test_series_of_two_processes_are_one_and_what_ray_adds_is_left_out() -> None:
    facts = [series.facts() for series in metric_text.ours(TEXT, HISTOGRAMS)]
    assert facts == [
        {
            "name": "perenne_http_request_seconds",
            "labels": {"actor": "edge", "route": "/ws"},
            "count": 2.0,
            "sum": 0.3,
            "buckets": {"0.1": 1.0, "+Inf": 2.0},
        },
        {
            "name": "perenne_http_requests_total",
            "labels": {"actor": "edge", "method": "GET", "route": "/api/projects/{project}", "status": "200"},
            "value": 7.0,
        },
        {"name": "perenne_odd_total", "labels": {"actor": 'a \\"b\\", c'}, "value": 1.0},
        {"name": "perenne_sockets_open", "labels": {"actor": "edge"}, "value": 5.0},
    ]


def test_in_words_a_histogram_says_how_many_and_how_long() -> None:
    (first, *_) = metric_text.ours(TEXT, HISTOGRAMS)
    assert in_words(first) == "perenne_http_request_seconds  actor=edge route=/ws  2 times, 0.15 on average"


def test_it_is_read_from_the_port_on_this_pc() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert metric_text.fetch(server.server_port) == TEXT
    with pytest.raises(OSError, match="refused"):
        metric_text.fetch(server.server_port)


def test_the_configuration_of_a_prometheus_names_this_instances_file() -> None:
    said = configuration("/tmp/perenne-0123456789")
    assert "files: [/tmp/perenne-0123456789/r/prom_metrics_service_discovery.json]" in said
    assert "HOME_OF_RAY" not in said
