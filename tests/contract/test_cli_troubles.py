"""What a command says when it goes wrong: one sentence, the command to type next, an exit code of its own kind, JSON when asked."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from perenne import errors
from perenne.cli.troubles import _BY_CODE, Exit, trouble_of

PERENNE = Path(sys.executable).with_name("perenne")
ROOT = Path(__file__).parents[2]


@dataclass
class Other:
    """A server that answers everything with one thing."""

    status: int = 200
    kind: str = "application/json"
    body: str = "{}"
    seen: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[Other, str]]:
    says = Other()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            says.seen.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = says.body.encode()
            self.send_response(says.status)
            for name, value in (("Content-Type", says.kind), ("Content-Length", str(len(body))), ("Retry-After", "1")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield says, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def perenne(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERENNE_", "RAY_"))}
    return subprocess.run(
        [PERENNE, *words], env={**kept, "PERENNE_HOME": str(home), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL, cwd=home,
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[str], *, as_json: bool) -> dict[str, Any]:
    """The trouble, once its form was looked at: one line on standard error, one object on standard output when that was asked."""
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"perenne: .+; type: .+", line)
    if not as_json:
        assert done.stdout == ""
        return {"line": line}
    (written,) = done.stdout.splitlines()
    error = json.loads(written)["error"]
    assert line == f"perenne: {error['message']}; type: {error['next']}"
    assert error["exit"] == done.returncode
    return error


def envelope(code: str, message: str, **more: Any) -> str:
    return json.dumps({"error": {"code": code, "message": message, **more}})


ANSWERS = [
    # what the command is, what the server answers: how it ends, with which code, and what to type
    ("projects list", 401, envelope("unauthorized", "a valid key is needed"), Exit.KEY, "unauthorized", "unset PERENNE_KEY"),
    ("projects list", 403, envelope("forbidden", "this key lacks", needed="admin"), Exit.KEY, "forbidden", "--scope admin"),
    ("search x -p nowhere", 404, envelope("not_found", "no project 'nowhere'"), Exit.NOT_FOUND, "not_found", "projects list"),
    ("jobs show job_1", 404, envelope("not_found", "no job 'job_1'"), Exit.NOT_FOUND, "not_found", "jobs list"),
    ("keys revoke key_1", 404, envelope("not_found", "no key 'key_1'"), Exit.NOT_FOUND, "not_found", "keys list"),
    ("projects create a", 409, envelope("conflict", "a project named 'a' exists"), Exit.REFUSED, "conflict", "projects list"),
    ("search x -k 0", 400, envelope("invalid_request", "k: expected 1"), Exit.REFUSED, "invalid_request", "search --help"),
    ("projects create a", 413, envelope("too_large", "it is 3 long; the limit is 2"), Exit.REFUSED, "too_large", "config.yaml"),
    ("projects list", 507, envelope("storage_failed", "the disk is full"), Exit.MACHINE, "storage_failed", "doctor"),
    ("projects list", 500, envelope("engine_failed", "the engine failed"), Exit.FAILED, "engine_failed", "models check"),
    ("projects list", 500, envelope("internal", "something went wrong"), Exit.FAILED, "server_error", "doctor"),
    ("projects list", 404, "{}", Exit.AWAY, "not_perenne", "unset PERENNE_ADDRESS"),
    ("projects list", 200, '{"items": [{"of": "another"}]}', Exit.AWAY, "not_perenne", "unset PERENNE_ADDRESS"),
    ("models-page", 200, "<html>", Exit.AWAY, "not_perenne", "unset PERENNE_ADDRESS"),
]


@pytest.mark.parametrize(
    ("words", "status", "body", "exit", "code", "next"), ANSWERS, ids=[f"{a[4]}-{n}" for n, a in enumerate(ANSWERS)]
)
def test_what_a_server_answers_is_told(
    tmp_path: Path, other: tuple[Other, str], words: str, status: int, body: str, exit: Exit, code: str, next: str
) -> None:
    says, address = other
    says.status, says.body, says.kind = status, body, "text/html" if "<" in body else "application/json"
    (tmp_path / "key").write_text("pk_own")
    typed = shlex.split(words if words != "models-page" else "keys list")
    done = perenne(tmp_path, *typed, "--json", PERENNE_ADDRESS=address, PERENNE_KEY="pk_secret")
    error = told(done, as_json=True)
    assert (done.returncode, error["code"]) == (exit, code)
    assert next in error["next"]
    assert "pk_" not in done.stdout + done.stderr


def test_a_key_that_is_refused_is_no_trouble_of_each_file(tmp_path: Path, other: tuple[Other, str]) -> None:
    says, address = other
    says.status, says.body = 401, envelope("unauthorized", "a valid key is needed")
    (tmp_path / "a.txt").write_text("words")
    done = perenne(tmp_path, "add", "a.txt", "b.txt", "--json", PERENNE_ADDRESS=address)
    assert told(done, as_json=True)["next"] == "export PERENNE_KEY=pk_…"
    assert done.returncode == Exit.KEY


def test_a_file_that_is_not_there_fails_alone_with_what_to_type(tmp_path: Path, other: tuple[Other, str]) -> None:
    says, address = other
    says.status, says.body = 200, json.dumps({"id": "p", "user_id": "u", "name": "p", "created_at": 0.0})
    done = perenne(tmp_path, "add", "none.txt", PERENNE_ADDRESS=address)
    assert done.returncode == Exit.PARTLY
    assert "none.txt" in done.stdout
    assert done.stdout.rstrip().endswith("No such file or directory; type: ls -ld .)")


HERE = [
    ("projects list", {}, Exit.AWAY, "not_running", " up"),
    ("ask Why?", {"PERENNE_ADDRESS": "http://127.0.0.1:1"}, Exit.AWAY, "not_running", "unset PERENNE_ADDRESS"),
    ("ask Why?", {"PERENNE_ADDRESS": "http://nowhere.invalid"}, Exit.AWAY, "not_running", "unset PERENNE_ADDRESS"),
    ("keys list", {"PERENNE_ADDRESS": "127.0.0.1:8000"}, Exit.TYPED, "configuration", "env | grep ^PERENNE_"),
    ("dashboard", {}, Exit.AWAY, "not_running", " up"),
    ("status", {"PERENNE_PROFILE": "none"}, Exit.TYPED, "configuration", "env | grep ^PERENNE_"),
    ("doctor", {"PERENNE_PORT": "x"}, Exit.TYPED, "configuration", "env | grep ^PERENNE_"),
    ("jobs show", {}, Exit.TYPED, "usage", "jobs show --help"),
    ("nonsense", {}, Exit.TYPED, "usage", "perenne --help"),
    ("search a --limit 3", {}, Exit.TYPED, "usage", "search --help"),
    ("keys create a --scope god", {}, Exit.TYPED, "usage", "keys create --help"),
    ("add", {}, Exit.TYPED, "usage", "add --help"),
    ("add --jsonl none.jsonl", {}, Exit.FILE, "file", "ls -ld ."),
    ("add --jsonl .", {}, Exit.FILE, "file", "ls -ld ."),
]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "words"])
@pytest.mark.parametrize(("words", "environment", "exit", "code", "next"), HERE, ids=[h[0] for h in HERE])
def test_what_is_wrong_here_is_told(
    tmp_path: Path, words: str, environment: dict[str, str], exit: Exit, code: str, next: str, as_json: bool
) -> None:
    where = {"PERENNE_PORT": "1", **environment}  # nothing listens there
    began = time.monotonic()
    done = perenne(tmp_path, *shlex.split(words), *(["--json"] if as_json else []), **where)
    error = told(done, as_json=as_json)
    assert done.returncode == exit
    assert error.get("code", code) == code
    assert (error["next"] if as_json else error["line"]).endswith(next)
    assert time.monotonic() - began < 25.0  # a client's own patience is 30 s


@pytest.mark.parametrize("root_pid", [0, 2**22 - 1, None], ids=["stopped", "died", "unknown"])
def test_an_instance_that_ended_is_not_waited_for(tmp_path: Path, root_pid: int | None) -> None:
    # What it wrote down of itself outlives it: after `perenne down` a command waited half a minute for it to come back.
    (tmp_path / "run").mkdir()
    facts = {"http": "http://127.0.0.1:1", "root_pid": root_pid}
    (tmp_path / "run" / "instance.json").write_text(json.dumps(facts))
    began = time.monotonic()
    done = perenne(tmp_path, "projects", "list", "--json")
    assert told(done, as_json=True)["code"] == "not_running"
    assert time.monotonic() - began < 25.0


SAMPLES = [
    errors.Busy("the writer's queue", 2.0), errors.RateLimited("the server", 3.0), errors.Unavailable("RunHost", 1.0),
    errors.ModelNotReady("language", "loading"), errors.DeadlineExceeded("RunHost", 3.0), errors.LeaseLost("job_1"),
    errors.CommandReused("cmd_1"), errors.WeightsUnavailable("smollm2", "none"), errors.PerenneError("?"),
    errors.WrongPassphrase("it is encrypted"), errors.BackupDamaged("pieces/ab", "it is missing"),
]  # fmt: skip


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_the_rest_of_the_tree_says_what_to_type(error: errors.PerenneError) -> None:
    trouble = trouble_of(error, ["add", "a b.pdf", "--password", "hunter2"])
    assert trouble.code == error.code
    assert trouble.next
    assert "hunter2" not in trouble.next


def test_the_same_again_is_told_as_it_was_typed_but_for_the_password() -> None:
    trouble = trouble_of(errors.Busy("the queue", 2.0), ["add", "a b.pdf", "--password", "hunter2"])
    assert (trouble.exit, trouble.next) == (Exit.LATER, "sleep 2 && perenne add 'a b.pdf' --password PASSWORD")
    assert "hunter2" not in trouble_of(errors.Busy("the queue", 2.0), ["add", "--password=hunter2"]).next


def test_every_error_of_ours_is_in_the_table() -> None:
    def below(kind: type[errors.PerenneError]) -> Iterator[type[errors.PerenneError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from below(one)

    ours = {kind.code for kind in below(errors.PerenneError) if kind.__module__ == "perenne.errors"}
    assert ours <= set(_BY_CODE)


def test_the_exit_codes_are_those_that_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ", (ROOT / "docs" / "reasons.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == [int(code) for code in Exit]
