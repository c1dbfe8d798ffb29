"""A real instance for tests: started by `perenne up`, on a home, a port and a block of ports of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from cluster import doorbell
from cluster.processes import Proc, end, of_instance
from perenne.errors import PerenneError
from perenne.messages.health import ChildStatus, TreeStatus
from perenne.settings import Settings, load_settings
from tests.live.tied import Tied

ROOT = Path(__file__).resolve().parents[2]
UP_WITHIN_S = 240.0  # two cores shared with other tests; alone it takes a tenth
_LOOK_AGAIN_S = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningInstance:
    """`start`, look, `stop`; may be started again on the same home."""

    def __init__(self, profile: str = "tiny", **environment: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))  # short: pytest's folders are too long for sockets
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PERENNE_", "RAY_"))},
            "PERENNE_HOME": str(self.home),
            "PERENNE_PORT": str(self.port),
            "PERENNE_PROFILE": profile,
            "PERENNE_MODELS": os.environ.get("PERENNE_MODELS", str(ROOT / "build" / "models")),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.words: list[str] = []
        self._root: subprocess.Popen[str] | None = None
        self._tied: Tied | None = None

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.home / "key").read_text().strip()

    @property
    def root_pid(self) -> int:
        assert self._root is not None
        return self._root.pid

    # Commands

    def command(self, *arguments: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """A command of the server's, such as `status`, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cluster.commands", *arguments],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def start(self, ready: bool = True) -> "RunningInstance":
        self.words.clear()
        self._loose()
        self._root = root = subprocess.Popen(
            [sys.executable, "-m", "cluster.commands", "up"],
            env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._tied = Tied(root.pid)
        threading.Thread(target=self._listen, args=(root,), daemon=True).start()
        if not self.until(lambda: self.said("address: ") or root.poll() is not None, UP_WITHIN_S) or root.poll() is not None:
            raise AssertionError(f"it did not come up: {self.words}; {self._last_log()}")
        if ready:
            self.await_ready()
        return self

    def _listen(self, root: subprocess.Popen[str]) -> None:
        assert root.stdout is not None
        for line in root.stdout:
            self.words.append(line.rstrip("\n"))

    def _last_log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted((self.home / "logs").glob("*.[lj]*")))

    def said(self, beginning: str) -> str | None:
        return next((line for line in self.words if line.startswith(beginning)), None)

    def stop(self, within_s: float = 60.0) -> int:
        """End it as Ctrl-C does; the root's exit code."""
        assert self._root is not None
        if self._root.poll() is None:
            self._root.send_signal(signal.SIGINT)
        return self._root.wait(within_s)

    def kill_root(self) -> None:
        assert self._root is not None
        self._root.kill()
        self._root.wait(10)

    def _loose(self) -> None:
        if self._tied is not None:
            self._tied.loose()
            self._tied = None

    def close(self) -> None:
        """Leave nothing behind, whatever state the test left it in."""
        if self._root is not None and self._root.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill_root()
        self._loose()
        end(self.processes().values())
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.settings.ray_dir, ignore_errors=True)

    # Looks

    def status(self) -> TreeStatus | None:
        """What the Supervisor says; None while it is away."""
        try:
            return doorbell.ask_status(self.settings.ray_dir, 3.0)
        except PerenneError:
            return None

    def child(self, name: str) -> ChildStatus:
        status = self.status()
        assert status is not None, "the Supervisor is away"
        return next(child for child in status.children if child.name == name)

    def await_ready(self, within_s: float = UP_WITHIN_S) -> TreeStatus:
        """Wait until all that answering needs is up."""
        held: list[TreeStatus] = []

        def look() -> bool:
            status = self.status()
            held[:] = [status] if status else []
            return status is not None and status.ready

        assert self.until(look, within_s), f"not ready: {held[0].reasons if held else 'no Supervisor'}; {self.words}"
        return held[0]

    def until(self, check, within_s: float) -> bool:
        """Whether the check came true in time. For waits on other processes from plain threads."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if check():
                return True
            time.sleep(_LOOK_AGAIN_S)
        return bool(check())

    def kill_child(self, name: str) -> float:
        """Kill the child of that name with SIGKILL; the moment it happened."""
        assert self.until(lambda: _killed(self.child(name).pid), 30), f"{name} has no process"
        return time.monotonic()

    def processes(self) -> dict[int, Proc]:
        return of_instance(self.settings.ray_dir)

    def pids_of(self, sign: str) -> list[int]:
        """Ids of the instance's processes whose command line contains this, such as `ray::ServeReplica:edge` or `gcs_server`."""
        return [pid for pid, held in self.processes().items() if sign in " ".join(held.command()[:4])]

    def client(self, timeout_s: float = 30.0) -> httpx.Client:
        return httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {self.key}"}, timeout=timeout_s, trust_env=False
        )


def _killed(pid: int) -> bool:
    """False without a process, or when it is gone already: the Supervisor's last look is a moment old."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def mark_of_run() -> str:
    """A word that is in no other run."""
    return secrets.token_hex(6)
