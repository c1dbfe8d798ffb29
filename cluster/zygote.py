"""`python -m cluster.zygote`: a process that has loaded what workers of Ray's load, and forks one when Ray asks (`cluster/worker.py`).

A worker that begins with nothing spends 0.5 to 1.3 s of a core on imports, and an instance starts fourteen of them on two cores; forked, it
spends a third of that, and the pages are shared. Two things are never loaded here: Ray, which at its import reads what belongs to one
worker, draws from its generator of ids and reads its settings; and anything of ours, so that a child that is made anew after a change
of our code gets the new code.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

# What Ray, Ray Serve and our actors import of others, and what takes long.
PRELOADED = (
    "aiohttp",
    "alembic.command",
    "asyncio",
    "click",
    "concurrent.futures.process",
    "deprecated",
    "fastapi",
    "filelock",
    "google.protobuf.internal.builder",
    "google.protobuf.json_format",
    "grpc",
    "grpc_reflection.v1alpha.reflection",
    "httpx",
    "jsonschema",
    "limits.aio",
    "logging.config",
    "msgpack",
    "multiprocessing",
    "numpy",
    "opentelemetry.exporter.prometheus",
    "opentelemetry.sdk.metrics",
    "opentelemetry.sdk.trace",
    "packaging.version",
    "pdb",
    "prometheus_client",
    "pydantic",
    "pysqlite3",
    "python_multipart",
    "requests",
    "sqlalchemy.dialects.sqlite",
    "starlette.middleware.cors",
    "tenacity",
    "uvicorn.main",
    "uvloop",
    "watchfiles",
    "yaml",
)
EXITS_BYTES_MAX = 1 << 20  # then the file of ends is begun anew
REQUEST_WITHIN_S = 5.0  # a child gives up on a request that does not come


def socket_path(ray_dir: str) -> str:
    return str(Path(ray_dir, "zygote.sock"))


def bell_path(ray_dir: str) -> str:
    """Where the root asks whether this process still answers (`cluster/forking.py`)."""
    return str(Path(ray_dir, "zygote-bell.sock"))


def load(modules: Iterable[str]) -> None:
    """Import what is there of these; what is not, a worker that needs it will miss by itself."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def why_not() -> str | None:
    """Why this process must not be forked: its threads would be missing in the forks, and with them what they hold."""
    threads = len(os.listdir("/proc/self/task"))
    return f"{threads} threads run in it" if threads > 1 else None


def serve(door: socket.socket, bell: socket.socket) -> None:
    """Answer the bell, and fork at each knock at the door; the fork hears the request, so that no request can hurt this process. One that
    can't be forked is begun the usual way by who asks."""
    heard, rings = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what wakes the wait below is the byte in the pipe
    signal.set_wakeup_fd(rings, warn_on_full_buffer=False)
    gc.freeze()  # the collector leaves these pages alone, so that they stay shared
    while True:
        waiting, _, _ = select.select([door, bell, heard], [], [])
        if heard in waiting:
            with contextlib.suppress(OSError):
                os.read(heard, 4096)
            reap(Path(os.environ["PERENNE_INSTANCE"], "exits.jsonl"))
        if bell in waiting:
            answer(bell)
        if door in waiting:
            fork(door, bell)


def reap(path: Path) -> None:
    """Take the dead out of the kernel's table at once, for Ray takes a zombie for a living worker, and write down how each ended
    (`cluster/crashes.py` reads it)."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            title = ""
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{found.si_pid}/comm").read_text(errors="replace").strip()
            pid, status = os.waitpid(found.si_pid, os.WNOHANG)
        except ChildProcessError:
            return
        line = json.dumps({"pid": pid, "status": status, "at": time.time(), "title": title}) + "\n"
        with contextlib.suppress(OSError):  # without the record rather than without workers
            fresh = path.exists() and path.stat().st_size > EXITS_BYTES_MAX
            with open(path, "w" if fresh else "a", encoding="utf-8") as file:
                file.write(line)


def answer(bell: socket.socket) -> None:
    line, _ = bell.accept()
    with line, contextlib.suppress(OSError):  # who rang may be gone
        line.send(b"1", socket.MSG_DONTWAIT)


def fork(door: socket.socket, bell: socket.socket) -> None:
    line, _ = door.accept()
    with line:
        try:
            child = os.fork()
        except OSError as error:
            log.error("no worker could be forked: %s", error)
            return
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            door.close()
            bell.close()
            become_worker(line)


def become_worker(line: socket.socket) -> None:
    """Never returns."""
    try:
        script = hear(line)
        line.send(b"1")  # fails when who asked gave up, and began a worker itself
        line.close()
    except (OSError, ValueError, KeyError) as error:
        log.error("a request for a worker broke off: %s", error)
        os._exit(1)
    runpy.run_path(script, run_name="__main__")
    raise SystemExit


def hear(line: socket.socket) -> str:
    """Take over arguments, environment, folder, output and rank before the memory killer of who asks; the script to run."""
    line.settimeout(REQUEST_WITHIN_S)
    head, outputs, _, _ = socket.recv_fds(line, 4, 3)
    length = int.from_bytes(head, "big")
    body = b""
    while len(body) < length:
        piece = line.recv(length - len(body))
        if not piece:
            raise ValueError(f"expected {length} bytes, got {len(body)}")
        body += piece
    request = json.loads(body)
    for number, output in enumerate(outputs):
        os.dup2(output, number)
        os.close(output)
    os.setpgid(0, 0)  # as Ray does with a worker that it starts
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(request["oom_score_adj"])
    sys.argv = request["arguments"]
    return str(sys.argv[0])


def listening(path: str) -> socket.socket:
    """A socket under this path, which is there only once somebody listens: before that, who asks would be refused."""
    aside = f"{path}.{os.getpid()}"
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.bind(aside)
    opened.listen(64)  # who asks before everything is loaded waits
    os.replace(aside, path)
    return opened


def main() -> int:
    ray_dir = os.environ["PERENNE_INSTANCE"]
    with listening(socket_path(ray_dir)) as door, listening(bell_path(ray_dir)) as bell:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy begins threads otherwise
        load(PRELOADED)
        reason = why_not()
        if reason is None:
            serve(door, bell)
    log.error("workers are begun the slow way: %s", reason)
    return 1


if __name__ == "__main__":
    sys.exit(main())
