"""Ray's head processes: started, watched by process id, and a dead one started again as it was."""

import logging
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.environment import CHECKOUT, head_arguments, head_environment, ready_path
from cluster.forking import Forking
from cluster.instance import Instance
from cluster.processes import Proc, end, of_instance, proc
from cluster.reaping import Reaper
from perenne.errors import Unavailable
from perenne.settings import Settings

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0  # a cold disk on a small PC
CONTROL_PLANE_BACK_S = 15.0  # a control plane that was started again answers within this, or the whole head is started anew

# How to know a process of the head by its command line.
_PARTS = {"gcs": "gcs_server", "raylet": "raylet/raylet", "dashboard": "dashboard/dashboard.py"}


@dataclass(slots=True)
class _Part:
    proc: Proc
    arguments: list[str]
    environment: dict[str, str]


class Head:
    """The control plane (GCS), the node's raylet and the dashboard. `lost()` says which is dead."""

    def __init__(self, settings: Settings, instance: Instance) -> None:
        self._settings, self._instance = settings, instance
        self.environment = head_environment(settings, instance.ports)
        self._parts: dict[str, _Part] = {}
        self.reaper = Reaper()
        self._log = settings.path("logs", "ray-start.log")
        self._forking = Forking(instance.ray_dir, self.environment, settings.path("logs", "zygote.log"))

    def start(self) -> None:
        """Start Ray. Raises Unavailable with Ray's own words when it does not come up."""
        self.keep_zygote()
        with open(self._log, "wb") as output:
            try:
                done = subprocess.run(
                    head_arguments(self._settings, self._instance.ports),
                    env=self.environment,
                    cwd=CHECKOUT,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    timeout=START_TIMEOUT_S,
                    start_new_session=True,  # Ctrl-C is for the root alone, which ends the others in order
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise Unavailable("Ray", 5.0, f"it did not start within {START_TIMEOUT_S:g} s; see {self._log}") from None
        if done.returncode != 0:
            raise Unavailable("Ray", 5.0, f"it did not start: {last_words(self._log)}")
        self._find_parts()

    @property
    def zygote_pid(self) -> int:
        return self._forking.pid

    def keep_zygote(self) -> None:
        """See to it that there is a process that Ray's workers are forked from, and that it answers. Never waits for it."""
        self._forking.look(time.monotonic())

    def let_dashboard(self) -> None:
        """All that answers is ready: the dashboard may begin."""
        Path(ready_path(self._instance.ray_dir)).touch()

    def _find_parts(self) -> None:
        self._parts = {}
        for held in of_instance(self._instance.ray_dir).values():
            command = held.command()
            line = " ".join(command[:6])
            for part, sign in _PARTS.items():
                if sign in line and part not in self._parts and "from multiprocessing" not in line:
                    self._parts[part] = _Part(held, command, _environment_of(held.pid) or self.environment)
        missing = _PARTS.keys() - self._parts.keys()
        if missing:
            raise Unavailable("Ray", 5.0, f"{', '.join(sorted(missing))} did not start; see {self._log}")

    def lost(self) -> list[str]:
        """Names of the parts that are dead."""
        for part in self._parts.values():
            self.reaper.take(part.proc.pid)
        return [name for name, part in self._parts.items() if not part.proc.alive()]

    def pid(self, part: str) -> int:
        return self._parts[part].proc.pid

    def start_again(self, name: str) -> None:
        """Start one part as it was first started. Raises Unavailable when it does not answer: start the whole head then."""
        part = self._parts[name]
        output = open(self._settings.path("logs", f"ray-{name}.log"), "ab")  # noqa: SIM115 - the child holds it
        try:
            child = subprocess.Popen(
                part.arguments,
                env=part.environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"Ray's {name}", 5.0, str(error)) from None
        finally:
            output.close()
        held = proc(child.pid)
        if held is None:
            raise Unavailable(f"Ray's {name}", 5.0, "it ended at once")
        part.proc = held
        if name == "gcs" and not self._answers(held, CONTROL_PLANE_BACK_S):
            raise Unavailable("Ray's control plane", 5.0, "it did not come back")

    def _answers(self, held: Proc, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            self.reaper.take(held.pid)
            if not held.alive():
                return False
            try:
                with socket.create_connection(("127.0.0.1", self._instance.ports["gcs"]), timeout=1.0):
                    return True
            except OSError:
                time.sleep(0.1)
        return False

    def stop(self, patience_s: float = 3.0) -> list[int]:
        """End every process of the instance, whoever started it. Returns the ids of those that would not go."""
        left: list[Proc] = []
        for _ in range(5):  # what a dying process started meanwhile is seen by the next round
            found = of_instance(self._instance.ray_dir)
            if not found:
                return []
            left = end(found.values(), patience_s)
        return [held.pid for held in left]


def _environment_of(pid: int) -> dict[str, str]:
    try:
        return psutil.Process(pid).environ()
    except psutil.Error:
        return {}


def last_words(path: Path, lines: int = 6) -> str:
    """The end of a log, on one line."""
    try:
        text = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return f"and left no word at {path}"
    return " | ".join(line.strip() for line in text[-lines:]) + f" (all of it: {path})"
