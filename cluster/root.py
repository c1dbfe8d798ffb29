"""The root process, `perenne up`: it starts Ray's head and the Supervisor, watches both, and ends all of it.

It loads no Ray itself. Everything it watches it knows by process id, and the Supervisor by its doorbell.
"""

import contextlib
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import IO, Any

from cluster import doorbell
from cluster.crashes import LOG_LINES, Crashes, tail
from cluster.environment import CHECKOUT, igniter_environment
from cluster.first_boot import key_path
from cluster.head import Head, last_words
from cluster.instance import HomeLock, Instance, prepare, save
from cluster.notify import Notifier
from cluster.processes import end, of_instance
from cluster.reaping import adopt
from cluster.restarts import Intensity, decide
from cluster.trimming import logs_folder
from cluster.unfinished import finish
from cluster.version import version
from perenne.errors import Conflict, DeadlineExceeded, PerenneError, Unavailable
from perenne.messages.health import TreeStatus
from perenne.names import STORE_WRITER
from perenne.settings import Settings

log = logging.getLogger(__name__)

WATCH_S = 0.5
PULSE_S = 1.0  # between questions at the Supervisor's door
PULSE_TIMEOUT_S = 2.0
HUNG_AFTER = 6  # unanswered questions in a row from a Supervisor that has answered before, or whose door is open
TICK_AGE_MAX_S = 45.0  # a Supervisor whose loop answers but whose ticks stand still
BIRTH_S = 60.0  # a Supervisor that never came is put there anew after this
_SUPERVISOR_TITLE = "ray::Supervisor"  # Ray's name for its process, also for one that hangs while it is made
STOP_TREE_S = 25.0
OPENS_WITHIN_S = 60.0  # the address is said once the edge answers at it, or after this
LIVEZ_S = 0.5  # how long one look at it may take
HEAD_TRIES = 3  # of one start: Ray gives its own processes 30 s to come up, which a busy or cold PC may need longer for
HEAD_STARTS_MAX = 5  # whole heads in a row that did not live for HEAD_SETTLED_S
HEAD_SETTLED_S = 120.0
# An igniter that fails is begun again at once, then ever later.
IGNITING = Intensity(window_s=600.0, free=1, backoff_s=0.5, backoff_max_s=30.0, held_after=1000)

Say = Callable[[str], None]


class Root:
    """One run of one instance, from `start` to `stop`."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings, self._say = settings, unheard(say)
        self._lock = HomeLock(settings.home)
        self._instance: Instance
        self._head: Head | None = None
        self._ending = threading.Event()
        self._igniter: subprocess.Popen[bytes] | None = None
        self._igniter_failures: tuple[float, ...] = ()
        self._words: list[dict[str, Any]] = []
        self._supervisor_pid = 0
        self._silent = 0
        self._asked_at = 0.0
        self._ignited_at = 0.0
        self._head_starts = 0
        self._head_started_at = 0.0
        self._said: tuple[str, ...] = ()
        self._key: tuple[str | None, float] | None = None  # what the first boot said, and when
        self._announced = False
        self._ready_said = False
        self._begun = time.monotonic()
        self._notifier = Notifier()
        self._crashes = Crashes(settings.path("crashes"))

    # Life

    def run(self) -> int:
        """Run until a signal ends it. Returns the exit code; 0 after a clean stop."""
        self._lock.take()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if not adopt():
            log.info("how Ray's own processes end will not be known")
        try:
            self._start_head()
            while not self._ending.wait(WATCH_S):
                self._look()
        except PerenneError as error:
            self._say(f"error: {error}")
            return self._stop(1)
        except Exception as error:  # whatever it was: no process is left behind
            log.exception("the root fails")
            self._say(f"error: {type(error).__name__}: {error}")
            return self._stop(1)
        return self._stop(0)

    def _look(self) -> None:
        """One look at everything; one that fails for a reason nobody thought of is followed by the next."""
        self._notifier.alive()
        try:
            self._watch()
        except PerenneError:
            raise
        except Exception:
            log.exception("a look failed")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and os.environ.get("PERENNE_DETACHED"):
            return
        self._ending.set()

    def _start_head(self) -> None:
        """Start Ray, HEAD_TRIES times if need be; raises Unavailable with Ray's own words after that."""
        for tries in range(1, HEAD_TRIES + 1):
            self._notifier.alive(f"Ray is started, try {tries}")
            try:
                self._try_head()
                return
            except Unavailable as error:
                if self._ending.is_set():
                    return  # whoever ended it wants no other try
                if tries == HEAD_TRIES:
                    raise
                log.error("try %d of %d: %s", tries, HEAD_TRIES, error)
                self._say(f"Ray did not come up, try {tries + 1} of {HEAD_TRIES} begins: {error.reason}")
                self._clear_head()

    def _try_head(self) -> None:
        left = of_instance(self._settings.ray_dir)
        if left:
            log.warning("%d processes of an earlier run are ended first", len(left))
        instance = prepare_after(self._settings, set(left))
        self._instance = save(instance, root_pid=os.getpid(), version=version(), started_at=time.time())
        self._head = head = Head(self._settings, self._instance)
        self._prepare_igniter()
        head.start()
        self._head_starts += 1
        self._head_started_at = time.monotonic()
        if self._ready_said:
            head.let_dashboard()
        self._ignite()

    def _clear_head(self) -> None:
        """End all of it but this process; what it wrote is removed by the next try."""
        self._end_igniter()
        assert self._head is not None
        self._head.stop(patience_s=1.0)
        self._supervisor_pid = self._silent = 0

    # The igniter

    def _prepare_igniter(self) -> None:
        assert self._head is not None
        self._end_igniter()
        output = open(self._settings.path("logs", "ignite.log"), "ab")  # noqa: SIM115 - the child holds it
        self._igniter = subprocess.Popen(
            [sys.executable, "-m", "cluster.ignite"],
            env={**self._head.environment, **igniter_environment(self._settings)},
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
        output.close()
        assert self._igniter.stdout is not None
        threading.Thread(target=self._listen, args=(self._igniter.stdout,), daemon=True).start()

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            try:
                self._words.append(json.loads(line))
            except ValueError:
                log.warning("the igniter said %r", line[:200])

    def _ignite(self) -> None:
        if self._igniter is None or self._igniter.poll() is not None:
            self._prepare_igniter()
        assert self._igniter is not None
        assert self._igniter.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: the next look says so
            self._igniter.stdin.write(b"go\n")
            self._igniter.stdin.close()
        self._ignited_at = time.monotonic()

    def _end_igniter(self) -> None:
        if self._igniter is not None and self._igniter.poll() is None:
            self._igniter.kill()
            self._igniter.wait(5.0)
        self._igniter = None

    # Watching

    def _watch(self) -> None:
        assert self._head is not None
        igniter = self._igniter.pid if self._igniter is not None else 0
        self._head.reaper.reap(without=(igniter, self._head.zygote_pid))
        lost = self._head.lost()
        for part in lost:
            self._record(part)
        if "raylet" in lost:
            self._start_head_again("its node process died")
            return
        if "gcs" in lost:
            log.error("Ray's control plane died: it is started again")
            try:
                self._head.start_again("gcs")
            except Unavailable as error:
                self._start_head_again(str(error))
                return
        if "dashboard" in lost:
            self._head.start_again("dashboard")
        self._head.keep_zygote()
        self._hear(time.monotonic())
        if time.monotonic() - self._asked_at >= PULSE_S:
            self._asked_at = time.monotonic()
            self._feel_pulse()

    def _record(self, part: str) -> None:
        """How a process of Ray's ended, for the owner."""
        assert self._head is not None
        pid = self._head.pid(part)
        folder = logs_folder(self._instance.ray_dir)
        names = {"gcs": ("gcs_server.err", "gcs_server.out"), "raylet": ("raylet.err", "raylet.out")}.get(
            part, (f"{part}.log",)
        )
        lines = [line for name in names for line in tail(folder / name)]
        try:
            self._crashes.keep(
                part, pid, time.time(), self._head.reaper.status(pid), "a process of Ray's", tuple(lines[-LOG_LINES:])
            )
        except OSError as error:
            log.warning("the end of %s could not be recorded: %s", part, error)

    def _start_head_again(self, reason: str) -> None:
        if time.monotonic() - self._head_started_at > HEAD_SETTLED_S:
            self._head_starts = 0
        if self._head_starts >= HEAD_STARTS_MAX:
            raise Unavailable("Ray", 60.0, f"{reason}; {self._head_starts} starts in a row did not help")
        log.error("Ray is started again: %s", reason)
        self._say(f"Ray is started again: {reason}")
        self._clear_head()
        self._start_head()

    def _hear(self, now: float) -> None:
        while self._words:
            word = self._words.pop(0)
            if word["event"] == "error":
                log.error("%s", word["message"])
            elif word["event"] == "key":
                self._key = self._key or (word["secret"], now)
        if self._key is not None and not self._announced:
            self._announce(*self._key, now)
        if self._igniter is not None and self._igniter.poll() not in (None, 0):
            log.error("the igniter failed: %s", last_words(self._settings.path("logs", "ignite.log")))
            self._igniter = None
            self._igniter_failures = (*self._igniter_failures[-IGNITING.held_after :], now)
        if self._igniter is None and self._igniter_failures and self._key is None and self._may_ignite(now):
            self._ignite()

    def _may_ignite(self, now: float) -> bool:
        failures = self._igniter_failures
        return decide(failures, now, IGNITING, seed=len(failures)).decision == "go"

    def _announce(self, secret: str | None, known_at: float, now: float) -> None:
        """Say the address, to which a script goes at once."""
        if not lives(self._instance.http, LIVEZ_S) and now - known_at < OPENS_WITHIN_S:
            return
        self._announced = True
        self._notifier.ready()
        self._say(f"address: {self._instance.http}")
        if secret:
            # Where the words of a detached root go, logs/up.log or a container's log, they are kept: the key is none of them.
            self._say(f"key: {f'in {key_path(self._settings)}' if os.environ.get('PERENNE_DETACHED') else secret}")

    def _feel_pulse(self) -> None:
        try:
            pulse = doorbell.ask(self._instance.ray_dir, "pulse", PULSE_TIMEOUT_S)
        except PerenneError as error:
            self._silent += 1
            self._on_silence(error)
            return
        self._supervisor_pid, self._silent = int(pulse["pid"]), 0
        if pulse["age_s"] > TICK_AGE_MAX_S:
            log.error("the Supervisor's ticks stand still: it is replaced")
            self._kill_supervisor()
        elif not self._ready_said or self._said:
            self._tell_progress()

    def _on_silence(self, error: PerenneError) -> None:
        now = time.monotonic()
        if self._supervisor_pid and not self._is_ours(self._supervisor_pid):  # Ray is starting the next one
            self._supervisor_pid = self._silent = 0
            self._ignited_at = now
        # An open door that nobody answers at is a hung one's, also of one that hung before it was ever heard.
        elif self._silent >= HUNG_AFTER and (self._supervisor_pid or isinstance(error, DeadlineExceeded)):
            log.error("the Supervisor does not answer (%s): it is replaced", error)
            self._kill_supervisor()
        elif not self._supervisor_pid and now - self._ignited_at > BIRTH_S:
            log.error("the Supervisor did not come: it is put there anew")
            self._kill_supervisor()
            self._end_igniter()
            self._ignite()

    def _is_ours(self, pid: int) -> bool:
        return pid in of_instance(self._instance.ray_dir)

    def _kill_supervisor(self) -> None:
        """Ray starts another in its place; should Ray not, the igniter does after a while."""
        for held in of_instance(self._instance.ray_dir).values():
            if any(word.startswith(_SUPERVISOR_TITLE) for word in held.command()[:1]):
                held.send(signal.SIGKILL)
        self._supervisor_pid = self._silent = 0
        self._ignited_at = time.monotonic()

    def _tell_progress(self) -> None:
        try:
            status = doorbell.ask_status(self._instance.ray_dir, PULSE_TIMEOUT_S)
        except PerenneError:
            return
        reasons = worth_saying(status) if self._announced else migrating(status)
        for reason in reasons:
            if reason not in self._said:
                self._say(reason)
        self._said = reasons
        if status.ready and self._announced and not self._ready_said:
            self._ready_said = True
            assert self._head is not None
            self._head.let_dashboard()
            self._say(f"ready after {time.monotonic() - self._begun:.1f} s")

    # The end

    def _stop(self, code: int) -> int:
        self._say("stopping")
        self._notifier.stopping()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._end_igniter()
        if self._head is not None:
            try:
                within_s = STOP_TREE_S + self._settings.supervision.drain_s
                told = doorbell.ask(self._instance.ray_dir, "stop", within_s) or {}
                if told.get("drained"):
                    self._say(str(told["drained"]))
            except PerenneError as error:
                log.warning("the tree did not end itself: %s", error)
            stuck = self._head.stop()
            if stuck:
                self._say(f"these processes would not end: {', '.join(map(str, stuck))}")
                code = code or 1
            save(self._instance, root_pid=0)
        self._lock.release()
        self._say("stopped")
        return code


def lives(address: str, within_s: float) -> bool:
    """Whether the edge answers there."""
    edge = http.client.HTTPConnection(address.removeprefix("http://"), timeout=within_s)
    try:
        edge.request("GET", "/livez", headers={"Host": "localhost"})
        return edge.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        edge.close()


def unheard(say: Say) -> Say:
    """Say it; that nobody listens any more (a closed terminal or pipe) ends nothing."""

    def spoken(words: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            say(words)

    return spoken


def prepare_after(settings: Settings, left: set[int]) -> Instance:
    """End what an earlier run left behind, then make the folders ready."""
    if left:
        stuck = end(of_instance(settings.ray_dir).values())
        if stuck:
            raise Conflict(f"processes of an earlier run would not end: {', '.join(str(p.pid) for p in stuck)}")
    finish(settings)  # of a restore that died on its way
    return prepare(settings)


def migrating(status: TreeStatus) -> tuple[str, ...]:
    """What alone may take minutes before there is an address: the database is brought to this version."""
    return tuple(
        f"{child.name}: {child.detail}"
        for child in status.children
        if child.name == STORE_WRITER and child.state == "recovering" and child.detail
    )


def worth_saying(status: TreeStatus) -> tuple[str, ...]:
    """What a person waiting wants to read: how far the models are."""
    return tuple(reason for reason in status.reasons if " model: " in reason)
