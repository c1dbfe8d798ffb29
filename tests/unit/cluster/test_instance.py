"""The home: its lock, its facts, its private files."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.environment import head_arguments, head_environment
from cluster.instance import HomeLock, prepare, read_instance, save, write_private
from perenne.errors import Conflict
from perenne.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path / "home"), "PERENNE_PROFILE": "tiny"})


def test_a_second_root_on_one_home_is_refused_and_told_who_holds_it(settings: Settings):
    first, second = HomeLock(settings.home), HomeLock(settings.home)
    first.take()
    with pytest.raises(Conflict, match="already running"):
        second.take()
    assert second.holder() == os.getpid()
    first.release()
    assert second.holder() is None
    second.take()
    second.release()


def test_the_lock_of_a_killed_root_is_free(settings: Settings):
    code = f"import os; from cluster.instance import HomeLock; HomeLock({settings.home!r}).take(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    lock = HomeLock(settings.home)
    assert lock.holder() is None
    lock.take()
    lock.release()


def test_secrets_are_their_owners_alone(settings: Settings):
    instance = prepare(settings)
    for path in (Path(instance.token_path), Path(instance.ray_dir)):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    path = settings.path("key")
    write_private(path, "pk_x\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(path.parent.glob("key.*"))


def test_the_block_of_ports_is_found_once_and_kept(settings: Settings):
    first = save(prepare(settings))
    assert read_instance(settings.home) == first
    assert prepare(settings).port_base == first.port_base


def test_two_homes_share_no_port_and_no_folder(tmp_path: Path):
    environments: list[dict[str, str]] = []
    for name, base in (("a", "20200"), ("b", "20400")):
        settings = load_settings({"PERENNE_HOME": str(tmp_path / name), "PERENNE_PORT_BASE": base})
        environments.append(head_environment(settings, prepare(settings).ports, {}))
    own = re.compile(
        r"(METRIC|METRICS|STATS|HTTP|GRPC)_PORT$|HAPROXY_(CONFIG_FILE_LOC|.*SOCKET_PATH|SERVER_STATE_.*)$|storage_path$|_HOME$"
    )
    names = [name for name in environments[0] if own.search(name)]
    assert len(names) > 14
    for name in names:
        assert environments[0][name] != environments[1][name], name


def test_the_head_takes_nothing_from_another_rays_environment(settings: Settings):
    environment = head_environment(settings, prepare(settings).ports, {"RAY_ADDRESS": "10.0.0.1:6379", "PATH": "/bin"})
    assert "RAY_ADDRESS" not in environment
    assert environment["PATH"] == "/bin"
    assert environment["RAY_AUTH_MODE"] == "token"


def test_haproxys_sockets_are_short_enough_for_it(settings: Settings):
    environment = head_environment(settings, prepare(settings).ports, {})
    node_id = "f" * 56
    for name in ("SOCKET_PATH", "METRICS_SOCKET_PATH"):
        path = Path(environment[f"RAY_SERVE_HAPROXY_{name}"])
        assert len(str(path.parent / node_id / path.name)) <= 97


def test_every_port_option_of_the_head_is_named(settings: Settings):
    arguments = " ".join(head_arguments(settings, prepare(settings).ports))
    for option in ("--port=", "--dashboard-port=", "--node-manager-port=", "--object-manager-port=", "--metrics-export-port="):
        assert option in arguments
    assert "--block" not in arguments
