"""A parser and a model that run out of memory: each ends as a state of its own, in words, and what comes next goes on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.core_process import ROOT
from tests.chaos.recorder import Recorder
from tests.unit.ingest_house import House

PROMISE = "it is a state of its own, said in words; what comes next goes on"
CAP_BYTES = 220 << 20
PLENTY_MB = 1 << 20
LARGE = b"many words here. " * (7 << 20)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, memory_bytes_max=CAP_BYTES, text_chars_max=400_000_000, file_bytes_max=200 << 20)
    await made.found()
    made.start()
    yield made
    await made.close()


async def test_a_file_that_takes_too_much_memory_is_refused_by_name_and_the_next_is_read(
    house: House, recorder: Recorder
) -> None:
    before = await house.ended(await house.add(b"The first file has a few words.", "first.txt"))
    large = await house.add(LARGE, "large.txt")
    begun = time.monotonic()
    after = await house.add(b"The last file has a few words.", "last.txt")
    ended = await house.ended(large)
    read = await house.ended(after)
    took_s = time.monotonic() - begun
    assert before.state == read.state == "done"
    assert (ended.state, ended.code) == ("refused", "too_much_memory")
    assert "220 MiB of memory" in (ended.reason or "")
    recorder.round("a parser runs out of memory", PROMISE, took_s, acknowledged=3)


def short_of_memory(role: str, more_mb: int) -> dict[str, Any] | None:
    """What became of a model in a process that may have so much more memory than it has without; None when that ended it."""
    given = {"PERENNE_PROFILE": "tiny", "PERENNE_MODELS": str(ROOT / "build" / "models")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.short_of_memory", role, str(more_mb)],
        cwd=ROOT,
        env={**given, **os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if done.returncode < 0:
        return None
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("role", "more_mb"), [("embedding", 24), ("language", 48)])
def test_a_model_without_memory_says_so_or_ends_and_is_loaded_once_there_is_some(
    role: str, more_mb: int, recorder: Recorder
) -> None:
    said = short_of_memory(role, more_mb)
    if said is None:  # as the kernel ends one that takes too much: whoever takes its place has memory again
        said = short_of_memory(role, PLENTY_MB)
        assert said is not None
        assert said["phase"] == "ready"
    else:
        assert said["phase"] == "failed"
        assert said["detail"], "it failed without a word"
        assert said["detail"] in said["asked"]
    assert said["then"] == "ready"
    assert said["answer"] > 0
    recorder.round(f"a model runs out of memory: {role}", PROMISE, said["recovery_s"])
