"""The processes of one instance: found by the mark in their environment and by their parents, ended by their ids."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from cluster.environment import MARK

_REPLICA = re.compile(r"ray::(?:ServeReplica:|SERVE_REPLICA::)([^:#.]+)")


@dataclass(frozen=True, slots=True)
class Proc:
    """A process id is reused; together with its start time it is not."""

    pid: int
    started: float

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def send(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def command(self) -> list[str]:
        try:
            return psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return []


def proc(pid: int) -> Proc | None:
    try:
        return Proc(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return mark in environment.read().split(b"\0")
    except OSError:
        return False


def of_instance(ray_dir: str, without: Iterable[int] = ()) -> dict[int, Proc]:
    """All live processes of the instance with this Ray folder, but the caller and `without`."""
    mark = f"{MARK}={ray_dir}".encode()
    left_out = {os.getpid(), *without}
    found: dict[int, Proc] = {}
    parents: dict[int, int] = {}
    for process in psutil.process_iter(["ppid", "create_time", "status"]):
        info = process.info
        if info["status"] == psutil.STATUS_ZOMBIE:
            continue
        parents[process.pid] = info["ppid"]
        if process.pid not in left_out and _marked(process.pid, mark):
            found[process.pid] = Proc(process.pid, info["create_time"])
    grew = True
    while grew:  # children whose environment can't be read any more
        grew = False
        for pid, parent in parents.items():
            if pid not in found and pid not in left_out and parent in found:
                held = proc(pid)
                if held is not None:
                    found[pid] = held
                    grew = True
    return found


def application_of(title: str) -> str | None:
    """Whose replica a process with this title is, by the names that Ray gives it: of the actor, and of its class once that runs."""
    found = _REPLICA.match(title)
    return found[1] if found else None


def serve_replicas(ray_dir: str) -> dict[int, str]:
    """The processes of Serve's replicas of the instance with this Ray folder, each with its application. Some milliseconds."""
    mark = f"{MARK}={ray_dir}".encode()
    found: dict[int, str] = {}
    for process in psutil.process_iter(["cmdline"]):
        name = application_of((process.info["cmdline"] or [""])[0])
        if name is not None and _marked(process.pid, mark):
            found[process.pid] = name
    return found


def end(processes: Iterable[Proc], patience_s: float = 3.0) -> list[Proc]:
    """Ask all to end, then insist. Returns those that are still there (none, but for a process stuck in the kernel)."""
    left = [process for process in processes if process.alive()]
    for process in left:
        process.send(signal.SIGCONT)  # a stopped process would not hear the next
        process.send(signal.SIGTERM)
    left = _await_end(left, patience_s)
    for process in left:
        process.send(signal.SIGKILL)
    return _await_end(left, 5.0)


def _await_end(processes: list[Proc], within_s: float) -> list[Proc]:
    until = time.monotonic() + within_s
    while True:
        for process in processes:
            with contextlib.suppress(ChildProcessError, OSError):
                os.waitpid(process.pid, os.WNOHANG)  # ours by birth: reap it, or it stays a zombie
        left = [process for process in processes if process.alive()]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)
