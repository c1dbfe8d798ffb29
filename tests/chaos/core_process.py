"""Cores in processes of their own, watched by strace: forked from one that has everything imported, so that a kill costs a tenth of a
second and not two. What they acknowledge comes over a socket, which is no file and takes no part in what is counted."""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
T = TypeVar("T")
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
# Everything by which a core changes what a disk holds.
CHANGES = (
    *("write", "pwrite64", "writev", "pwritev", "ftruncate", "truncate", "fallocate", "copy_file_range", "sendfile"),
    *("fsync", "fdatasync", "sync_file_range", "msync"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat", "symlink"),
)


def needs_strace() -> None:
    """A skip on a laptop, an error in CI."""
    if shutil.which("strace") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("strace is not installed: sudo apt install strace")


@dataclass
class Heard:
    """What a core told until its end, and whether it came to its end by itself."""

    lines: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def acknowledged(self) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.lines if line.startswith("ok ")]

    @property
    def refused(self) -> dict[str, str]:
        """By what was asked, the kind of its error."""
        return {line.split(" ")[1]: line.split(" ")[2] for line in self.lines if line.startswith("no ")}


class Cores:
    """One process that forks a core for each `run`."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.core_process", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, "PYTHONPATH": str(ROOT), **one_thread},
        )
        theirs.close()

    def close(self) -> None:
        self._line.close()
        self._process.wait(PATIENCE_S)

    def run(self, work: str, folder: Path, *options: str, mutant: str = "", log: Path | None = None) -> Heard:
        """Run a workload under strace with these options, until it ends or is killed."""
        heard = Heard()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.settimeout(PATIENCE_S)
            with theirs:
                socket.send_fds(self._line, [json.dumps([work, str(folder), mutant]).encode()], [theirs.fileno()])
            pid = int(ours.recv(64))
            with _watched(pid, options, log or Path(os.devnull)):
                ours.send(b"go")
                while line := ours.recv(4096).decode():
                    if line == "end":
                        heard.ended = True
                    else:
                        heard.lines.append(line)
        return heard

    def counted(self, work: str, folder: Path, log: Path) -> dict[str, int]:
        """How often each call that changes the disk is made by the thread that makes it most often."""
        heard = self.run(work, folder, "-e", f"trace={','.join(CHANGES)}", log=log)
        assert heard.ended, heard.lines
        calls: dict[tuple[str, str], int] = {}
        for thread, call in re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE):
            calls[thread, call] = calls.get((thread, call), 0) + 1
        most: dict[str, int] = {}
        for (_, call), count in calls.items():
            most[call] = max(most.get(call, 0), count)
        return most


def beginnings(work: str, folder: Path) -> Path:
    """What a workload finds: for the writer a database with its tables, since making them is many times the rest."""
    from actors.store.writer import WriterCore
    from tests.chaos.core_work import database_of

    folder.mkdir()
    if work.startswith("writer"):
        core = WriterCore(database_of(folder))
        core.open()
        core.close()
    return folder


def some(cases: Sequence[T], in_ci: int, *, seed: str) -> Sequence[T]:
    """All of them under `make chaos`; else as many as are given, by a seed."""
    if "PERENNE_CHAOS_ROUNDS" in os.environ or len(cases) <= in_ci:
        return cases
    return random.Random(seed).sample(cases, in_ci)


@contextmanager
def _watched(pid: int, options: Sequence[str], log: Path) -> Iterator[None]:
    """Strace on a process until that ends."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", str(log), *options, "-p", str(pid)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        assert "attached" in said, said + tracer.stderr.read()
        yield
        tracer.wait(PATIENCE_S)
    finally:
        if tracer.poll() is None:
            tracer.kill()
            os.kill(pid, signal.SIGKILL)
        tracer.stderr.close()
        tracer.wait(PATIENCE_S)


# In the process that forks


def _child(work: str, folder: Path, mutant: str, line: socket.socket) -> None:
    from tests.chaos.core_mutants import MUTANTS
    from tests.chaos.core_work import WORKLOADS, Told

    def hold() -> None:
        line.send(str(os.getpid()).encode())
        assert line.recv(16) == b"go"

    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)  # strace is no ancestor of ours
    MUTANTS[mutant]()
    WORKLOADS[work](folder, Told(lambda text: line.send(text.encode()) and None, hold))
    line.send(b"end")


def _serve(line: socket.socket) -> None:
    import tests.chaos.core_mutants
    import tests.chaos.core_work  # noqa: F401 - all that a core imports is in memory before the first fork

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, 65_536, 1)
        if not message:
            return
        work, folder, mutant = json.loads(message)
        if os.fork() == 0:
            line.close()
            code = 1
            try:
                _child(work, Path(folder), mutant, socket.socket(fileno=descriptors[0]))
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        os.close(descriptors[0])


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
