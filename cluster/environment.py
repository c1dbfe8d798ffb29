"""What Ray's processes are told: environment and arguments of the head, as data."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.ports import REPLICA_GRPC, REPLICA_HTTP, Ports
from perenne.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
MARK = "PERENNE_INSTANCE"  # in the environment of every process of an instance, so that they can be found again
OBJECT_STORE_BYTES = 200_000_000  # Ray would take 30 % of memory; what we send through it is small
MEMORY_KILL_SHARE = "0.97"  # Ray's memory killer acts above this share of the machine's memory; 0.95 is too early on 8 GB

# What outsiders need to reach the instance's actors; also part of the head's environment.
_CLIENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # moves every port of Ray's core to loopback
    "RAY_USAGE_STATS_ENABLED": "0",
}


def token_path(settings: Settings) -> Path:
    return settings.path("run", "ray-token")


def control_plane_path(settings: Settings) -> Path:
    return Path(settings.ray_dir, "gcs")


def ready_path(ray_dir: str) -> str:
    """A file that is there once the instance was ready: what is not needed for answers waits for it."""
    return str(Path(ray_dir, "ready"))


def haproxy_path(settings: Settings) -> Path:
    """Short: Serve adds the node's id of 56 characters, and HAProxy takes socket paths up to 97 in all."""
    return Path(settings.ray_dir, "h")


def client_environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to connect to this instance's Ray."""
    return {
        **_CLIENT,
        "RAY_AUTH_TOKEN_PATH": str(token_path(settings)),
        "PYTHONPATH": str(CHECKOUT),
        "PERENNE_HOME": settings.home,
        "PERENNE_PROFILE": settings.profile,
        "PERENNE_MODELS": settings.models_dir,
        MARK: settings.ray_dir,
    }


def igniter_environment(settings: Settings) -> dict[str, str]:
    """What the igniter needs beside the head's environment: it makes the settings that every actor is given. The addresses of the
    database and of Redis hold passwords, and nobody else has them in the environment."""
    secret = {
        "PERENNE_DATABASE_URL": settings.store.url,
        "PERENNE_REDIS_URL": settings.redis_url,
        "PERENNE_BACKUP_TARGET": settings.backups.target,
        "PERENNE_BACKUP_PASSPHRASE": settings.backups.passphrase,
    }
    return {name: value for name, value in secret.items() if value is not None}


def _serve_environment(settings: Settings, ports: Ports) -> dict[str, str]:
    """HAProxy and throughput mode, with every file and port in places of ours."""
    folder = haproxy_path(settings)
    http_first, http_last = ports.span(REPLICA_HTTP)
    grpc_first, grpc_last = ports.span(REPLICA_GRPC)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if settings.edge.haproxy else "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1" if settings.edge.throughput else "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(CHECKOUT / "serve" / "haproxy-loopback"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3600",  # a change of replicas must not cut an answer under way
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["fallback_http"]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports["fallback_grpc"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http_first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http_last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc_first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc_last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # 30 by default: what a shutdown waits for
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",  # a dead proxy is away 25 s at the defaults, 3 s with these
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "1",
    }


# Ray and Serve at rest. What they do at their defaults several times a second is for clusters of hundreds.
_QUIET = {
    "RAY_task_events_report_interval_ms": "10000",
    "RAY_metrics_report_interval_ms": "30000",
    "RAY_core_worker_internal_heartbeat_ms": "5000",
    "RAY_raylet_report_resources_period_milliseconds": "500",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_event_stats": "0",
    "RAY_worker_niceness": "0",  # 15 by default: on a PC in use, every actor would starve behind whatever else runs
    "RAY_enable_timeline": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "15000",
    "METRICS_RECORD_INTERVAL_S": "30",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "RAY_SERVE_HAPROXY_METRICS_REPORT_INTERVAL_S": "30",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ROTATION_MAX_BYTES": str(16 << 20),
    "RAY_ROTATION_BACKUP_COUNT": "2",
}


def head_environment(settings: Settings, ports: Ports, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment of the head, and so of every actor and replica."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(("RAY_", "PERENNE_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of thirty processes compiles our code anew, at every start
    control = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(control_plane_path(settings))}
    return {
        **kept,
        **client_environment(settings),
        **control,
        **_serve_environment(settings, ports),
        **_QUIET,
        **({"PERENNE_CHAOS": "1", "PERENNE_MUTANT": inherited.get("PERENNE_MUTANT", "")} if settings.chaos else {}),
        "PERENNE_HOST": settings.host,
        "PERENNE_BEHIND_TLS_PROXY": "1" if settings.edge.behind_tls_proxy else "0",
        "FORWARDED_ALLOW_IPS": "127.0.0.1,::1"
        if settings.edge.behind_tls_proxy
        else "none",  # uvicorn's; HAProxy is on loopback
        "PERENNE_PORT": str(settings.port),
        "PERENNE_PORT_BASE": str(ports.first),
        "RAY_START_HOOK": "cluster.trim.without_spare_processes",
        "RAY_health_check_period_ms": "500",  # a node that vanished is noticed in 3 s instead of 63
        "RAY_health_check_timeout_ms": "500",
        "RAY_health_check_failure_threshold": "6",
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_memory_usage_threshold": MEMORY_KILL_SHARE,
        "DASHBOARD_METRIC_PORT": str(ports["dashboard_metrics"]),
        "AUTOSCALER_METRIC_PORT": str(ports["autoscaler_metrics"]),
        "SPT_NOENV": "1",  # a process that changes its title keeps its environment, where the mark is
        "OMP_NUM_THREADS": inherited.get("OMP_NUM_THREADS", "1"),
        "OMP_WAIT_POLICY": inherited.get("OMP_WAIT_POLICY", "passive"),  # threads that spin while they wait starve the others
    }


def head_arguments(settings: Settings, ports: Ports) -> list[str]:
    """`ray start`, without `--block`: with it, the death of the control plane would end everything."""
    first, last = ports.workers
    options: dict[str, object] = {
        "--node-ip-address": "127.0.0.1",
        "--port": ports["gcs"],
        "--dashboard-host": "127.0.0.1",
        "--dashboard-port": ports["dashboard"],
        "--dashboard-agent-listen-port": ports["agent_http"],
        "--dashboard-agent-grpc-port": ports["agent_grpc"],
        "--runtime-env-agent-port": ports["runtime_env_agent"],
        "--metrics-export-port": ports["metrics_export"],
        "--node-manager-port": ports["node_manager"],
        "--object-manager-port": ports["object_manager"],
        "--ray-client-server-port": ports["ray_client"],
        "--min-worker-port": first,
        "--max-worker-port": last,
        "--num-cpus": 2,  # how many workers Ray keeps warm; ours ask for none
        "--object-store-memory": OBJECT_STORE_BYTES,
        "--temp-dir": f"{settings.ray_dir}/r",  # Ray opens its folder to everybody (0777): it gets one inside ours, which is closed
        "--labels": f"pc={settings.pc}",
        "--include-dashboard": "true",
        "--include-log-monitor": "false",
        "--log-color": "false",
    }
    pairs = [f"{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "cluster.ray_start", "start", "--head", "--no-monitor", "--disable-usage-stats", *pairs]
