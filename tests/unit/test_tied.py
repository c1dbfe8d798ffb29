"""What a killed test or benchmark started ends with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.processes import proc
from perenne.testing import eventually
from tests.live.tied import Tied

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import subprocess, sys, time
from tests.live.tied import Tied
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
tied = Tied(child.pid)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_what_is_tied_ends_with_who_started_it(end: str) -> None:
    """A benchmark that a time-out killed left its instance running."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(  # noqa: ASYNC220 - it is waited for
        [sys.executable, "-c", PARENT], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = proc(int(parent.stdout.readline()))
    assert child is not None
    assert child.alive()
    getattr(parent, end)()
    parent.wait(10)
    parent.stdout.close()
    await eventually(lambda: not child.alive(), within_s=20)


def test_what_has_ended_already_is_let_go() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        tied = Tied(child.pid)
        child.kill()
        child.wait(10)
        tied.loose()
