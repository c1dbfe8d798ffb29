"""Records of crashes: how it ended, the last words without what is not to be kept, and a bound."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from cluster import crashes as module
from cluster.crashes import Crashes, ended, exits_path, last_lines, read_exits, sanitized, told
from cluster.reaping import Reaper
from cluster.trimming import trim


def test_a_death_is_kept_once_and_read_back(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path / "crashes")
    kept = crashes.keep("StoreWriter", 42, 1_000.0, signal.SIGSEGV, "", ("a line",))
    assert kept is not None
    assert (kept.signal, kept.exit_code, ended(kept)) == ("SIGSEGV", None, "was ended by SIGSEGV")
    assert crashes.keep("StoreWriter", 42, 1_000.0, signal.SIGSEGV, "", ()) is None
    unseen = crashes.keep("IndexShard/of a model-0", 43, 1_001.0, None, "", ())
    assert crashes.read() == (kept, unseen)
    assert (tmp_path / "crashes").stat().st_mode & 0o077 == 0


def test_only_the_newest_records_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CRASHES_KEPT", 5)
    crashes = Crashes(tmp_path)
    for number in range(12):
        crashes.keep("x", number, 1_000.0 + number, 256, "", ())
    assert [crash.pid for crash in crashes.read()] == [7, 8, 9, 10, 11]


def test_a_torn_record_hides_no_other(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path)
    (tmp_path / "20260101T000000Z-torn-1.json").write_text("{")
    crashes.keep("x", 1, 2e9, 256, "", ())
    assert [crash.exit_code for crash in crashes.read()] == [1]


@pytest.mark.parametrize(
    ("line", "gone", "kept"),
    [
        ("ValueError: could not read 'the will of my aunt'", "aunt", "ValueError: could not read …"),
        ('KeyError: "Annual report 2025"', "Annual", "KeyError: …"),
        ("Authorization: Bearer pk-abcdefghijklmnop", "abcdefgh", "Authorization:"),
        ("token_0123456789abcdef0123456789abcdef00", "89abcdef", "…"),
        ("postgresql://me:hunter2@host/db is away", "hunter2", "is away"),
    ],
)
def test_what_may_be_a_documents_or_a_key_is_not_kept(line: str, gone: str, kept: str) -> None:
    assert gone not in sanitized(line)
    assert kept in sanitized(line)


def test_a_traceback_stays_readable() -> None:
    line = '  File "/opt/perenne/actors/store/writer.py", line 200 in _run'
    assert sanitized(line) == line


def test_the_last_words_of_a_worker_are_found_by_its_process_id(tmp_path: Path) -> None:
    logs = tmp_path / "r" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "worker-abc-01-77.err").write_text(":actor_name:StoreWriter\n" + "".join(f"line {n}\n" for n in range(50)))
    (logs / "worker-abc-01-770.err").write_text("another's\n")
    lines = last_lines(str(tmp_path), 77, tmp_path / "logs")
    assert lines[-1] == "line 49"
    assert len(lines) == module.LOG_LINES
    assert last_lines(str(tmp_path), 78, tmp_path / "logs") == ()


def logged(pid: int, second: int, message: str, **more: str) -> str:
    told = {
        "time": f"2026-11-26T12:00:{second:02}.000Z",
        "level": "error",
        "actor": "RunHost",
        "pid": pid,
        "logger": "actors.x",
    }
    return json.dumps({**told, "message": message, **more}) + "\n"


def test_the_last_words_of_a_worker_are_those_of_its_log_and_then_what_it_printed(tmp_path: Path) -> None:
    logs, printed = tmp_path / "logs", tmp_path / "r" / "session_latest" / "logs"
    for folder in (logs, printed):
        folder.mkdir(parents=True)
    failed = "\n".join(["Traceback:", *(f"  frame {n}" for n in range(9)), "KeyError: 'the will'"])
    (logs / "RunHost.jsonl").write_text("".join(logged(77 + n % 2, n, f"word {n}") for n in range(40)))
    (logs / "RunHost-2.jsonl").write_text(logged(77, 41, "could not read 'the will'", exception=failed))
    (printed / "worker-abc-01-77.err").write_text("Fatal Python error: Segmentation fault\n")
    lines = last_lines(str(tmp_path), 77, logs)
    assert len(lines) == module.LOG_LINES
    assert lines[-1] == "Fatal Python error: Segmentation fault"
    assert lines[-2] == "KeyError: …"
    assert lines[-7] == "2026-11-26T12:00:41.000Z ERROR actors.x: could not read …"
    assert lines[-8] == "2026-11-26T12:00:38.000Z ERROR actors.x: word 38"
    (printed / "worker-abc-01-77.err").write_text("".join(f"frame {n}\n" for n in range(50)))
    lines = last_lines(str(tmp_path), 77, logs)
    assert (len(lines), lines[-1], lines[9]) == (module.LOG_LINES, "frame 49", "KeyError: …"), "neither hides the other"


# A zygote's forks, without Ray: it writes down how each ended.
ZYGOTE = """
import os, signal, sys, threading
from pathlib import Path
from cluster import zygote
def fork(door, bell):
    line, _ = door.accept()
    how = line.recv(100)
    if os.fork() == 0:
        signal.set_wakeup_fd(-1)
        line.close()
        if how == b"segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(int(how))
    line.close()
zygote.fork = fork
with zygote.listening(zygote.socket_path(sys.argv[1])) as door, zygote.listening(zygote.bell_path(sys.argv[1])) as bell:
    zygote.serve(door, bell)
"""


def test_the_zygote_tells_how_its_forks_ended_and_leaves_no_zombie(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix="pz-", dir="/tmp"))
    environment = {**os.environ, "PERENNE_INSTANCE": str(place)}
    zygote = subprocess.Popen([sys.executable, "-c", ZYGOTE, str(place)], env=environment)
    try:
        for how in (b"0", b"3", b"segv"):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    with socket.socket(socket.AF_UNIX) as line:
                        line.connect(str(place / "zygote.sock"))
                        line.sendall(how)
                        line.recv(1)
                    break
                except OSError:
                    time.sleep(0.05)
        found: list[module.Exit] = []
        offset, deadline = 0, time.monotonic() + 20
        while len(found) < 3 and time.monotonic() < deadline:
            more, offset = read_exits(exits_path(str(place)), offset)
            found.extend(more)
            time.sleep(0.05)
        assert {told(gone.status) for gone in found} == {(0, None), (3, None), (None, "SIGSEGV")}
        assert all(gone.title for gone in found)
        assert not psutil.Process(zygote.pid).children()
    finally:
        zygote.kill()
        zygote.wait(5)
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


ADOPTING = """
import os, sys, time
from cluster.reaping import Reaper, adopt
assert adopt()
if os.fork() == 0:          # a parent that leaves its child alone, as `ray start` does
    if (child := os.fork()) == 0:
        time.sleep(0.3)
        os._exit(7)
    print(child, flush=True)
    os._exit(0)
"""


def test_the_end_of_a_process_whose_parent_left_is_known() -> None:
    program = ADOPTING + (
        "os.wait()\nreaper = Reaper()\nimport psutil\npid = psutil.Process().children()[0].pid\n"
        "until = time.monotonic() + 10\n"
        "while reaper.status(pid) is None and time.monotonic() < until:\n    reaper.reap()\n    time.sleep(0.05)\n"
        "sys.exit(os.WEXITSTATUS(reaper.status(pid)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 7, done.stderr


def test_somebody_elses_child_is_left_to_them() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(5)"])
    waited = threading.Event()
    until = time.monotonic() + 20
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        waited.wait(0.02)
    reaper = Reaper()
    reaper.reap(without=(child.pid,))
    assert reaper.status(child.pid) is None
    assert child.wait(5) == 5


def test_logs_of_the_dead_go_oldest_first_and_the_livings_stay(tmp_path: Path) -> None:
    for number, pid in enumerate((10, 11, 12)):
        path = tmp_path / f"worker-abc-01-{pid}.err"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (number, number))
    (tmp_path / "gcs_server.out").write_bytes(b"x" * 1000)
    assert trim(tmp_path, 4000, lambda _: False) == 0
    assert trim(tmp_path, 2500, lambda pid: pid == 10) == 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gcs_server.out", "worker-abc-01-10.err"]
