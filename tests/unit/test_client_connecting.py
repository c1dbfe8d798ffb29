"""Joining an instance from a process that used Ray before: a sentence, at once, instead of half a minute and Ray's token error."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

import perenne
from perenne import names
from perenne.client import RayDirectory
from perenne.errors import ConfigurationError, DeadlineExceeded, Unavailable


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    facts = {"ray_address": "127.0.0.1:1", "token_path": str(tmp_path / "token")}
    (tmp_path / "run" / "instance.json").write_text(json.dumps(facts))
    return tmp_path


def test_ray_imported_before_is_said_with_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="before the first 'import ray'") as caught:
        perenne.connect(home=str(home))
    assert f"RAY_AUTH_TOKEN_PATH={home / 'token'}" in str(caught.value)
    assert time.monotonic() - began < 1.0


def test_a_process_in_another_cluster_is_told_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="127.0.0.1:6379"))
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:6379.*ray\.shutdown"):
        perenne.connect(home=str(home))
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.2:1"))
    perenne.connect(home=str(home))


def test_nothing_that_runs_is_said_before_anything_of_ray(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="perenne up"):
        perenne.connect(home=str(tmp_path))


@pytest.mark.parametrize("how", ["call", "stream"])
async def test_a_control_plane_that_hangs_costs_a_caller_its_deadline_and_no_more(how: str) -> None:
    # A stream waited without any bound for its producer to be found.
    away = threading.Event()

    class Directory(RayDirectory):
        def _resolve(self, name: str) -> object:
            away.wait(20.0)
            raise ValueError(name)

    directory = Directory()
    asked = {
        "call": lambda: directory.call(names.RUN_HOST, "start", timeout_s=0.1),
        "stream": lambda: anext(directory.stream(names.RUN_HOST, "follow", silence_s=0.1)),
    }
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded):
            await asked[how]()
        assert time.monotonic() - began < 5.0
    finally:
        away.set()
