"""Finding and ending the processes of one instance."""

import os
import subprocess
import sys

from cluster.environment import MARK
from cluster.processes import Proc, end, of_instance, proc

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def start(mark: str, code: str = "import time; print('up', flush=True); time.sleep(60)") -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, MARK: mark}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def test_only_the_instances_own_processes_are_found():
    mine, other = start("/tmp/one"), start("/tmp/one-more")
    try:
        assert set(of_instance("/tmp/one")) == {mine.pid}
    finally:
        assert end([held for child in (mine, other) if (held := proc(child.pid))]) == []


def test_a_child_that_hides_its_environment_is_found_by_its_parent():
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={});"
        "print('up', flush=True); time.sleep(60)"
    )
    parent = start("/tmp/two", code)
    try:
        found = of_instance("/tmp/two")
        assert len(found) == 2
    finally:
        assert end(of_instance("/tmp/two").values()) == []
    assert not Proc(parent.pid, 0.0).alive()


def test_one_that_ignores_the_request_and_one_that_is_stopped_are_ended_too():
    stubborn, stopped = start("/tmp/three", STUBBORN), start("/tmp/three")
    os.kill(stopped.pid, 19)
    assert end(of_instance("/tmp/three").values(), patience_s=0.3) == []
    assert of_instance("/tmp/three") == {}
    assert stubborn.poll() is not None or not Proc(stubborn.pid, 0).alive()


def test_a_reused_process_id_is_another_process():
    child = start("/tmp/four")
    held = proc(child.pid)
    assert held is not None
    assert held.alive()
    assert not Proc(child.pid, held.started - 5).alive()
    child.kill()
    child.wait()
    assert not held.alive()
