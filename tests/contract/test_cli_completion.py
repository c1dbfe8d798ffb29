"""A press of Tab: what the shells ask `perenne`, what it offers, and that it is quick, silent and keeps the key to itself."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
LISTS = {
    "/api/projects": {
        "items": [
            {"id": "prj_1", "name": "work", "documents": 3},
            {"id": "prj_2", "name": "my letters; rm -rf", "documents": 1},
            {"id": "prj_3", "name": "wood", "documents": 0},
        ]
    },
    "/api/jobs": {"items": [{"id": "job_1", "state": "failed", "filename": "a\x1b[2J.pdf"}, {"id": "job_2", "state": "done"}]},
    "/api/keys": [
        {"id": "key_1", "label": "mine", "revoked_at": None},
        {"id": "key_2", "label": "old", "revoked_at": 1.0},
    ],
}


class House:
    """Lists to whoever shows the key."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lists: dict[str, Any] = LISTS
        self.late_s = 0.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    held = House()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.asked.append(self.path)
            time.sleep(held.late_s)
            good = self.headers["Authorization"] == "Bearer pk_secret"
            told = held.lists[self.path.partition("?")[0]] if good else {"error": {"code": "unauthorized"}}
            self.send_response(200 if good else 401)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # it is no longer waited for
                self.wfile.write(json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "run").mkdir()
        (tmp_path / "key").write_text("pk_secret\n")
        (tmp_path / "run" / "instance.json").write_text(json.dumps({"http": f"http://127.0.0.1:{server.server_address[1]}"}))
        yield held
        server.shutdown()


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERENNE_", "RAY_"))}
    return {**kept, "PERENNE_HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def asked(home: Path, line: str, shell: str = "bash", **more: str) -> list[str]:
    """What the program offers for the last word of the line, asked as the shell's own script does."""
    words = line.split(" ")
    protocol = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": "",
        },
    }[shell]
    done = subprocess.run(
        [BIN / "perenne"], env=environment(home, _PERENNE_COMPLETE=f"complete_{shell}", **protocol, **more),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert "pk_" not in done.stdout
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("perenne jo", ["jobs"]),
        ("perenne jobs ", ["list", "show", "cancel", "retry"]),
        ("perenne search x --project wo", ["work", "wood"]),
        ("perenne add a.pdf -p ", ["work", "prj_2", "wood"]),
        ("perenne projects delete prj_", ["prj_1", "prj_2", "prj_3"]),
        ("perenne jobs show job_", ["job_1", "job_2"]),
        ("perenne jobs cancel nothing", []),
        ("perenne keys revoke ", ["key_1"]),
        ("perenne models pull smollm2-135", ["smollm2-135m-instruct-q4_1"]),
    ],
)
def test_bash_is_offered_commands_names_and_ids(tmp_path: Path, house: House, line: str, offers: list[str]) -> None:
    assert asked(tmp_path, line) == offers


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_are_offered_the_same_and_what_each_is(tmp_path: Path, house: House, shell: str) -> None:
    said = "\n".join(asked(tmp_path, "perenne search x -p wo", shell))
    assert re.search(r"\bwork\b.*3 documents", said)
    assert "wood" in said
    jobs = "\n".join(asked(tmp_path, "perenne jobs show job_", shell))
    assert re.search(r"job_1.*failed a \[2J\.pdf", jobs)  # a file's name is no order to the terminal
    assert "\x1b" not in jobs


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_its_script(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [BIN / "perenne", "--show-completion", shell],
        env=environment(tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert f"_PERENNE_COMPLETE=complete_{shell}" in done.stdout


def test_a_real_bash_completes(tmp_path: Path, house: House) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = """
eval "$(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 perenne --show-completion bash)"
COMP_WORDS=(perenne search x --project wo); COMP_CWORD=4
$(complete -p perenne | sed 's/.*-F \\([^ ]*\\) .*/\\1/') perenne
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        [bash, "--norc", "-c", script], env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("work\nwood\n", "")


@pytest.mark.parametrize("trouble", ["no instance", "gone", "late", "broken", "key", "address"])
def test_without_an_instance_that_answers_it_is_silent_and_soon(tmp_path: Path, house: House, trouble: str) -> None:
    more: dict[str, str] = {}
    if trouble == "no instance":
        (tmp_path / "run" / "instance.json").unlink()
    elif trouble == "gone":
        more["PERENNE_ADDRESS"] = "http://127.0.0.1:1"
    elif trouble == "late":
        house.late_s = 30.0
    elif trouble == "broken":
        house.lists = {"/api/projects": ["what", {"is": "this"}]}
    elif trouble == "key":
        more["PERENNE_KEY"] = "pk_wrong"
    else:
        more["PERENNE_ADDRESS"] = "nonsense"
    began = time.monotonic()
    assert asked(tmp_path, "perenne search x -p wo", **more) == []
    assert time.monotonic() - began < 15.0  # a busy PC; the wait itself is a quarter of a second


def cpu_of(work: Callable[[], Any]) -> float:
    """The least of three, in CPU seconds of the programs that the work runs."""
    spent: list[float] = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        work()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.parametrize(
    ("line", "times"), [("perenne search x -p wo", 4), ("perenne jobs show job_", 4), ("perenne models pull s", 7)]
)
def test_a_press_of_tab_costs_little(tmp_path: Path, house: House, line: str, times: float) -> None:
    """Against what typer itself takes to load, for a busy PC counts everything higher. Before commands were loaded by name it
    was 9 times as much; `models` reads settings and the catalogue."""
    bare = cpu_of(lambda: subprocess.run([sys.executable, "-c", "import typer.main"], env=environment(tmp_path), check=True))
    assert cpu_of(lambda: asked(tmp_path, line)) < times * bare


@pytest.mark.parametrize("module", ["httpx", "pydantic", "yaml", "rich.console", "asyncio", "ray", "actors", "cluster"])
def test_completing_a_project_loads_nothing_heavy(tmp_path: Path, module: str) -> None:
    code = "import sys, perenne.cli, perenne.cli.answers, perenne.cli.jobs; print(sys.argv[1] in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, module], env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
