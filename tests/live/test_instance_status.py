"""What an instance says of itself."""

import json
import os
import signal

from cluster.tree import build_tree
from tests.live.running import RunningInstance


def test_a_ready_instance_names_every_child_and_no_reason(instance: RunningInstance):
    status = instance.await_ready()
    assert {child.name for child in status.children} == {child.name for child in build_tree(instance.settings)}
    assert status.reasons == ()
    said = instance.command("status", "--json")
    assert said.returncode == 0
    (line,) = said.stdout.splitlines()
    assert json.loads(line)["ready"] is True


def test_a_killed_child_is_counted_and_comes_back(instance: RunningInstance):
    before = instance.child("RunHost")
    os.kill(before.pid, signal.SIGKILL)
    assert instance.until(lambda: instance.child("RunHost").restarts > before.restarts, 30)
    instance.await_ready()
    assert instance.child("RunHost").pid != before.pid


def test_a_hung_child_is_said_to_be_hung_and_replaced(instance: RunningInstance):
    before = instance.await_ready()
    pid = instance.child("IngestHost").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        assert instance.until(lambda: not (instance.status() or before).ready, 30)
        assert instance.until(lambda: instance.child("IngestHost").pid not in (0, pid), 60)
    finally:
        if pid in instance.processes():
            os.kill(pid, signal.SIGCONT)
    instance.await_ready()


def test_a_killed_supervisor_finds_its_children_and_doubles_none(instance: RunningInstance):
    before = {child.name: child.pid for child in instance.await_ready().children}
    (pid,) = instance.pids_of("ray::Supervisor")
    os.kill(pid, signal.SIGKILL)
    assert instance.until(lambda: instance.pids_of("ray::Supervisor") not in ([], [pid]), 60)
    status = instance.await_ready()
    assert {child.name: child.pid for child in status.children} == before
    for name in ("ray::StoreWriter", "ray::RunHost", "ray::IngestHost"):
        assert len(instance.pids_of(name)) == 1


def test_a_stopped_supervisor_is_replaced_by_the_root(instance: RunningInstance):
    (pid,) = instance.pids_of("ray::Supervisor")
    os.kill(pid, signal.SIGSTOP)
    assert instance.until(lambda: instance.pids_of("ray::Supervisor") not in ([], [pid]), 90)
    instance.await_ready()


def test_a_supervisor_stopped_before_the_root_heard_of_it_is_replaced(instance: RunningInstance):
    (first,) = instance.pids_of("ray::Supervisor")
    os.kill(first, signal.SIGKILL)
    assert instance.until(lambda: instance.pids_of("ray::Supervisor") not in ([], [first]), 60)
    (second,) = instance.pids_of("ray::Supervisor")
    assert instance.until(lambda: instance.status() is not None, 60)
    os.kill(second, signal.SIGSTOP)
    assert instance.until(lambda: instance.pids_of("ray::Supervisor") not in ([], [second]), 90)
    instance.await_ready()


def test_a_second_up_on_a_running_home_says_so(instance: RunningInstance):
    second = instance.command("up")
    assert second.returncode == 1
    assert "already running" in second.stdout
    assert instance.address in second.stdout
    instance.await_ready()
