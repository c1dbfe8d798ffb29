"""Starting, stopping, starting again; and two at once."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.running import RunningInstance


@pytest.fixture
def another() -> Iterator[RunningInstance]:
    running = RunningInstance()
    try:
        yield running
    finally:
        running.close()


def weights(folder: str) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.timeout(900)
def test_an_instance_beside_another_stops_without_a_trace_and_starts_again_as_it_was(
    instance: RunningInstance, another: RunningInstance
):
    another.start()
    first_key, held = another.key, weights(another.settings.models_dir)
    assert another.said(f"key: {first_key}")  # scripts read it from a pipe
    with instance.client() as ours, another.client() as theirs:
        assert ours.get("/api/projects").status_code == 200
        assert theirs.get("/api/projects").status_code == 200
        assert ours.get("/api/projects", headers={"Authorization": f"Bearer {first_key}"}).status_code == 401

    assert another.stop() == 0
    assert another.processes() == {}
    instance.await_ready()

    another.start()
    assert another.said("key: ") is None  # shown once
    assert another.key == first_key
    assert weights(another.settings.models_dir) == held  # nothing was downloaded again
    with another.client() as theirs:
        assert [p["name"] for p in theirs.get("/api/projects").json()["items"]] == ["default"]

    another.kill_root()  # what it left is ended by the next start, and by `down`
    assert another.processes() != {}
    another.start()
    another.kill_root()
    assert another.processes() != {}
    assert another.command("down").returncode == 0
    assert another.processes() == {}


def test_a_taken_port_is_a_sentence_and_an_exit_code(another: RunningInstance):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", another.port))
        holder.listen()
        refused = another.command("up")
    assert refused.returncode == 3
    assert f"Port {another.port} on 127.0.0.1 is taken" in refused.stderr
    assert "PERENNE_PORT=" in refused.stderr
    assert another.processes() == {}


def test_down_without_an_instance_is_no_error(another: RunningInstance):
    done = another.command("down")
    assert done.returncode == 0
    assert "nothing is running" in done.stdout
    assert another.command("status").returncode == 4


@pytest.mark.timeout(600)
def test_a_detached_start_shows_the_key_to_who_typed_it_and_leaves_it_in_no_log(another: RunningInstance):
    """The key stood in logs/up.log."""
    started = another.command("up", "--detach")
    assert started.returncode == 0, started.stderr
    assert f"key: {another.key}" in started.stdout.splitlines()
    log = (another.home / "logs" / "up.log").read_text()
    assert f"key: in {another.home / 'key'}" in log
    assert another.key not in log
    assert another.command("down").returncode == 0
    assert not another.processes()
