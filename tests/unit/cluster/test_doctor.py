"""The doctor: each problem is one sentence and says what to type."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cluster import doctor
from cluster.doctor import Finding
from cluster.environment import MARK
from perenne.settings import Settings, load_settings

GB = 1 << 30


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path / "home"), "PERENNE_MODELS": str(tmp_path / "models")})


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """A checkout whose page is not built, and a PATH with a Node that says this; None: with none."""
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path)

    def put(says: str | None) -> None:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", str(programs))
        if says is None:
            return
        for name in ("node", "npm"):
            program = programs / name
            program.write_text(f"#!/bin/sh\n{says}\n")
            program.chmod(0o700)

    return put


def memory_of(monkeypatch: pytest.MonkeyPatch, memory: float, swap: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=int(memory * GB)))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=int(swap * GB)))


def one(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (None, "this PC has no Node;"),
        ("echo v18.20.4", "this PC has Node 18.20;"),
        ("echo v20.18.1", "this PC has Node 20.18;"),
        ("echo nonsense", "this PC has no Node;"),
        ("exit 1", "this PC has no Node;"),
    ],
)
def test_a_page_that_no_node_here_can_build_is_said_with_what_to_type(settings: Settings, node, says, words: str) -> None:
    node(says)
    finding = one(doctor.page(settings, running=False))
    assert (finding.about, finding.level) == ("node", "warns")
    assert words in finding.sentence
    assert finding.remedy.endswith("make run")


@pytest.mark.parametrize("says", ["echo v20.19.0", "echo v22.1.0", "echo v100.0.0-pre"])
def test_a_node_that_is_new_enough_builds_the_page(settings: Settings, node, says: str) -> None:
    node(says)
    assert one(doctor.page(settings, running=False)).remedy == "make web"


def test_a_built_page_needs_no_node(settings: Settings, node, tmp_path: Path) -> None:
    node(None)
    (tmp_path / "web" / "dist").mkdir(parents=True)
    (tmp_path / "web" / "dist" / "index.html").touch()
    assert one(doctor.page(settings, running=False)).level == "fine"


def test_the_doctor_and_the_build_ask_for_the_same_node() -> None:
    wanted = Path(__file__).parents[3].joinpath(".ci", "node").read_text()
    assert f"at least {doctor.NODE_NEEDED[0]}.{doctor.NODE_NEEDED[1]} " in wanted


@pytest.mark.parametrize(
    ("memory", "swap", "level"), [(5, 0, "warns"), (5, 2, "fine"), (16, 0, "fine"), (7, 0, "fine"), (6.9, 0, "warns")]
)
def test_no_swap_is_a_warning_where_memory_is_short(
    settings: Settings, monkeypatch, memory: float, swap: float, level: str
) -> None:
    memory_of(monkeypatch, memory, swap)
    finding = one(doctor.swap(settings, running=False))
    assert finding.level == level
    assert ("swapon /swapfile" in finding.remedy) == (level == "warns")


def test_each_problem_is_one_sentence_and_says_what_to_type(settings: Settings, node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory, and a port block out of range, were said with nothing to do about them."""
    found: list[Finding] = []
    bad = settings.model_copy(update={"port_base": 80})
    monkeypatch.setattr(doctor, "is_free", lambda *_: False)
    for free_gb, memory_gb in ((0.1, 2), (3, 5)):
        node(None)
        memory_of(monkeypatch, memory_gb, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free_gb=free_gb: SimpleNamespace(free=int(free_gb * GB)))
        found += doctor.examine(bad)
    problems = [finding for finding in found if finding.level != "fine"]
    assert {finding.about for finding in problems} >= {
        "port", "port_base", "memory", "swap", "disk", "models_disk", "shared_memory", "make", "node", "weights",
    }  # fmt: skip
    for finding in problems:
        assert finding.remedy, finding
        assert finding.sentence.endswith("."), finding
        assert ". " not in finding.sentence, finding
        assert "\n" not in finding.sentence + finding.remedy


def test_a_home_that_is_a_file_stops_it(tmp_path: Path) -> None:
    """It ended in a traceback: NotADirectoryError from the log's folder."""
    (tmp_path / "note.txt").write_text("a file")
    finding = next(
        f for f in doctor.disk(load_settings({"PERENNE_HOME": str(tmp_path / "note.txt")}), False) if f.about == "home"
    )
    assert (finding.level, finding.sentence) == ("stops", f"{tmp_path / 'note.txt'} is a file, not a folder.")


def test_what_to_type_is_the_command_as_it_was_typed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make run` the command is .venv/bin/perenne; `perenne up` was answered with "command not found"."""
    monkeypatch.setattr(doctor, "is_free", lambda *_: False)
    monkeypatch.setattr("sys.argv", [".venv/bin/perenne", "up"])
    assert one(doctor.port(settings, running=False)).remedy.endswith("PERENNE_PORT=8001 .venv/bin/perenne up")
    monkeypatch.setattr("sys.argv", ["/app/cluster/commands.py", "up"])
    assert one(doctor.port(settings, running=False)).remedy.endswith("PERENNE_PORT=8001 perenne up")


def test_a_port_that_an_earlier_run_left_taken_is_its_own(settings: Settings) -> None:
    """After a kill -9 of the root the next start refused: it was told to end its own HAProxy."""
    listens = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); print(s.getsockname()[1],flush=True); time.sleep(60)"
    left = subprocess.Popen(
        [sys.executable, "-c", listens], stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: settings.ray_dir}
    )
    try:
        assert left.stdout is not None
        taken = settings.model_copy(update={"port": int(left.stdout.readline())})
        finding = one(doctor.port(taken, running=False))
        assert (finding.level, finding.remedy.split(" ", 5)[:4]) == ("warns", ["End", "all", "that", "was"])
        assert f"process {left.pid}), which an earlier run left" in finding.sentence
        others = taken.model_copy(update={"home": f"{settings.home}-other"})
        assert one(doctor.port(others, running=False)).level == "stops"
    finally:
        left.kill()
        left.wait()
