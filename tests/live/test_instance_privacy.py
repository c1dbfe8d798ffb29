"""What an instance opens to the machine and the network."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from cluster.instance import read_instance
from cluster.ports import BLOCK
from tests.live.running import RunningInstance

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def listeners(instance: RunningInstance) -> list[tuple[str, str, int]]:
    """(process, address, port) of every TCP listener of every process of the instance, the root's and the dashboard's included."""
    assert instance.command("dashboard").returncode == 0  # it waits for the page, which begins after all else
    found: list[tuple[str, str, int]] = []
    for pid in (*instance.processes(), instance.root_pid):
        try:
            process = psutil.Process(pid)
            title = " ".join(process.cmdline())[:60]
            found += [
                (title, c.laddr.ip, c.laddr.port) for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN
            ]
        except psutil.NoSuchProcess:
            continue
    return found


def test_every_listener_is_on_loopback(instance: RunningInstance):
    found = listeners(instance)
    assert len(found) > 15  # the head alone has ten: an empty list would prove nothing
    elsewhere = [entry for entry in found if entry[1] not in LOOPBACK]
    # The one exception: Ray Serve binds a replica's internal gRPC to every address and gives no way to change it. It asks for
    # the instance's token. One a replica, and nothing else.
    unexpected = [entry for entry in elsewhere if not entry[0].startswith("ray::ServeReplica")]
    assert unexpected == []
    assert len(elsewhere) <= len({entry[0] for entry in found if entry[0].startswith("ray::ServeReplica")})


def test_every_port_is_the_instances_own(instance: RunningInstance):
    facts = read_instance(instance.home)
    assert facts is not None
    block = range(facts.port_base, facts.port_base + BLOCK)
    outside = [e for e in listeners(instance) if e[2] not in block and e[2] != instance.port]
    assert [e for e in outside if not e[0].startswith("ray::ServeReplica") and "resource_tracker" not in e[0]] == []


def test_the_dashboards_api_wants_the_token(instance: RunningInstance):
    assert instance.command("dashboard").returncode == 0
    facts = read_instance(instance.home)
    assert facts is not None
    token = Path(facts.token_path).read_text().strip()
    url = f"{facts.dashboard}/api/cluster_status"
    with httpx.Client(trust_env=False, timeout=20) as browser:
        assert browser.get(url).status_code in (401, 403)
        assert browser.get(url, headers={"Authorization": "Bearer wrong"}).status_code in (401, 403)
        assert browser.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_driver_without_the_token_is_turned_away(instance: RunningInstance, tmp_path: Path):
    facts = read_instance(instance.home)
    assert facts is not None
    code = f"import ray; ray.init(address={facts.ray_address!r}, log_to_driver=False); print('IN', len(ray.nodes()))"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "HOME": str(tmp_path),  # no token file of its own
    }

    def try_in(**token: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env={**environment, **token}, capture_output=True, text=True, timeout=120, check=False
        )

    wrong = try_in(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    assert wrong.returncode != 0
    assert "IN" not in wrong.stdout
    right = try_in(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=facts.token_path)
    assert "IN 1" in right.stdout, right.stderr[-2000:]


def test_secrets_on_disk_are_the_owners_alone(instance: RunningInstance):
    facts = read_instance(instance.home)
    assert facts is not None
    for path in (instance.home / "key", Path(facts.token_path), instance.home / "run" / "instance.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(Path(facts.ray_dir).stat().st_mode) == 0o700
