"""The process that sends: `python -m actors.alerts.channels.sender PARENT_PID` reads orders on standard input and forks a process for each.

A fork puts the guard under its sockets, has so many seconds and so much memory, and ends; one that hangs, whatever it hangs in, is ended
by the kernel. So a slow sink delays no other, and what a sink answers is never seen by a process that lasts.
"""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from actors.alerts.channels import guard, services, webhook
from actors.alerts.channels.addresses import Reach
from actors.alerts.channels.masking import masked
from actors.alerts.channels.order import WORDS_CHARS_MAX, Order, Sent

MEMORY_BYTES = 1 << 30  # address space of one fork
_PIPE_BYTES = 4_096  # a line of at most this is written whole (PIPE_BUF), so that forks may share the pipe
_DEATHSIG = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


def die_with(parent: int) -> None:
    """End when the parent does: nothing is sent that nobody records."""
    ctypes.CDLL(None).prctl(_DEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _sent(order: Order, allowed: list[str], ca_file: str | None) -> Sent:
    guard.install(Reach(allowed))
    return webhook.send(order, ca_file) if order.kind == "webhook" else services.send(order)


def _say(out: int, number: int, sent: Sent) -> None:
    line = json.dumps({"number": number, **asdict(sent)}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    assert len(line) <= _PIPE_BYTES
    os.write(out, line)


def _fork(request: dict[str, Any], out: int, parent: int) -> NoReturn:
    begun = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, float(request["limit_s"]))  # SIGALRM, unhandled: the end
        die_with(parent)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        order = Order(**{**request["order"], "secrets": tuple(request["order"]["secrets"])})
        try:
            sent = _sent(order, request["allow"], request["ca_file"])
        except Exception as error:
            sent = Sent(ok=False, words=masked(f"{type(error).__name__}: {error}", order.url, order.secrets))
        took_s = round(time.monotonic() - begun, 3)
        _say(out, request["number"], Sent(**{**asdict(sent), "words": sent.words[:WORDS_CHARS_MAX], "took_s": took_s}))
    finally:
        os._exit(0)


def _ended(out: int, running: dict[int, int], limits: dict[int, float]) -> None:
    """Say of each fork that ended that it did; one that said nothing first has failed."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code, number = os.waitstatus_to_exitcode(status), running.pop(pid)
        limit_s = limits.pop(number)
        why = f"no end within {limit_s:g} s" if code == -signal.SIGALRM else f"the process that sent it ended with code {code}"
        _say(out, number, Sent(ok=False, words=why))


class _Loaded:
    """Libraries are read in once, with the first message that needs them."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def ensure(self, kind: str) -> None:
        if kind in self._done:
            return
        self._done.add(kind)
        if kind == "apprise":
            services.load()
        else:
            import httpx
            import orjson

            _ = httpx.Client, orjson.dumps
        gc.collect()
        gc.freeze()  # what is shared with the forks stays so


def main() -> None:
    """Serve orders until standard input ends or the parent does."""
    die_with(int(sys.argv[1]))
    out = os.dup(1)
    os.dup2(2, 1)
    bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(ring)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    limits: dict[int, float] = {}
    loaded = _Loaded()
    held = b""
    while True:
        ready, _, _ = select.select([0, bell], [], [])
        if bell in ready:
            os.read(bell, 512)
            _ended(out, running, limits)
        if 0 not in ready:
            continue
        piece = os.read(0, 1 << 16)
        if not piece:
            os._exit(0)
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            request = json.loads(line)
            loaded.ensure(request["order"]["kind"])
            limits[request["number"]] = float(request["limit_s"])
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _fork(request, out, parent)
            running[pid] = request["number"]


if __name__ == "__main__":
    main()
