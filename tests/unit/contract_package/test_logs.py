"""The files of logs: what a line says, what it never says, how large they get, and who may read them."""

import errno
import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perenne import correlation, logs
from perenne.logs import JsonLines, LogFile, Pace, discreet, open_log
from perenne.settings import LogSettings, load_settings

ROOT = Path(__file__).resolve().parents[3]
KEY = "pk_hZ8qvX2mN4tR7wLcPz1AyBdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A logger of ours with a file of its own."""
    made = logging.getLogger("perenne.test_of_logs")
    file = LogFile(tmp_path / "RunHost.jsonl", JsonLines("RunHost"), 64 << 10, 2)
    made.addHandler(file)
    made.setLevel(logging.DEBUG)
    made.propagate = False
    yield made
    made.removeHandler(file)
    file.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_who_what_and_for_which_request_and_run(log: logging.Logger, tmp_path: Path) -> None:
    log.info("taken %d of %s", 2, "3")

    def work() -> None:
        correlation.work_for(("req_1", "run_1"))
        log.warning("slow")
        log.info("another", extra={"run_id": "run_2"})

    import contextvars

    contextvars.copy_context().run(work)
    first, second, third = lines(tmp_path / "RunHost.jsonl")
    assert list(first) == ["time", "level", "actor", "pid", "logger", "message"]
    assert first["time"].endswith("Z")
    assert len(first["time"]) == len("2026-11-26T12:00:00.000Z")
    assert (first["level"], first["actor"], first["pid"]) == ("info", "RunHost", os.getpid())
    assert (first["logger"], first["message"]) == ("perenne.test_of_logs", "taken 2 of 3")
    assert (second["level"], second["request_id"], second["run_id"]) == ("warning", "req_1", "run_1")
    assert (third["request_id"], third["run_id"]) == ("req_1", "run_2")


def test_no_line_holds_a_key_or_what_may_be_a_documents(log: logging.Logger, tmp_path: Path) -> None:
    try:
        raise ValueError("expected a date, got 'the lighthouse\\nwas sold'")
    except ValueError as error:
        log.exception("could not read %r with %s: %s", "Family/divorce.pdf", KEY, error)
    log.error("no answer from postgresql://maria:s3cret@db/x; Bearer %s\nand a second line", KEY)
    text = (tmp_path / "RunHost.jsonl").read_text()
    assert len(text.splitlines()) == 2, "whatever is said, a line is a line"
    for word in (KEY, KEY[3:], "lighthouse", "divorce", "s3cret"):
        assert word not in text
    told = lines(tmp_path / "RunHost.jsonl")[0]
    assert told["message"].startswith("could not read … with …")
    assert "test_logs.py" in told["exception"], "where it happened is what helps"
    assert told["exception"].splitlines()[-1] == "ValueError: expected a date, got …"


@pytest.mark.parametrize(
    "words", ["what can't be told isn't kept", "the aunts' and the uncles' house", "3 files of run_01a2171b"]
)
def test_what_is_in_no_quotes_stays(words: str) -> None:
    assert discreet(words) == words


@pytest.mark.parametrize("words", ["KeyError: 'the will'", "got b'the will'", "(\"the will\", 'the will')", "f('the will')"])
def test_what_is_in_quotes_goes(words: str) -> None:
    assert "will" not in discreet(words)


def test_long_words_are_cut(log: logging.Logger, tmp_path: Path) -> None:
    log.info("x" * 100_000)
    assert len(lines(tmp_path / "RunHost.jsonl")[0]["message"]) == logs.MESSAGE_CHARS


def test_a_full_file_is_turned_over_and_the_oldest_goes(log: logging.Logger, tmp_path: Path) -> None:
    for number in range(1, 451):
        log.info("%d %s", number, "x" * 900)
    held = sorted(path.name for path in tmp_path.iterdir())
    assert held == ["RunHost.jsonl", "RunHost.jsonl.1", "RunHost.jsonl.2"]
    for path in tmp_path.iterdir():
        assert path.stat().st_size <= 64 << 10
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = [int(line["message"].split()[0]) for end in (".2", ".1", "") for line in lines(tmp_path / f"RunHost.jsonl{end}")]
    assert kept == list(range(kept[0], 451)), "nothing is missing in between"
    assert kept[0] > 1


def test_more_lines_than_the_bound_are_counted_and_the_next_line_says_so(log: logging.Logger, tmp_path: Path) -> None:
    file: Any = log.handlers[0]
    file._pace = Pace(3.0, 0.0)
    for number in range(10):
        log.info("%d", number)
    file._pace = Pace(3.0, 0.0)
    log.info("after")
    told = lines(tmp_path / "RunHost.jsonl")
    assert [line["message"] for line in told] == ["0", "1", "2", "after"]
    assert told[-1]["dropped"] == 7


def test_the_pace_lets_as_many_a_second_through_as_it_says_after_a_burst() -> None:
    pace = Pace(5.0, 2.0)
    now = pace._at
    assert [pace.allows(now) for _ in range(6)] == [True] * 5 + [False]
    assert [pace.allows(now + 1.0) for _ in range(3)] == [True, True, False]
    assert [pace.allows(now - 100.0), pace.allows(now + 1e6)] == [False, True], "a clock that goes back gives nothing"


def test_a_disk_that_takes_no_line_stops_nothing_that_is_logged(
    log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as full:

        def refuse(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "no space")

        full.setattr(logs.os, "write", refuse)
        log.info("lost")
    log.info("kept")
    (told,) = lines(tmp_path / "RunHost.jsonl")
    assert (told["message"], told["dropped"]) == ("kept", 1)
    assert capsys.readouterr().err == ""


def test_of_others_only_what_warns_is_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "x.jsonl", JsonLines("x"), 64 << 10, 0)
    made = {
        (name, level): file.filter(logging.LogRecord(name, level, "", 0, "", (), None))
        for name in ("actors.runs.desk", "httpx") for level in (logging.INFO, logging.WARNING)
    }  # fmt: skip
    file.close()
    assert [place for place, kept in made.items() if not kept] == [("httpx", logging.INFO)]


_PROCESS = """
import logging, sys
from pathlib import Path
from perenne.logs import open_log
from perenne.settings import LogSettings
open_log("edge", Path(sys.argv[1]), LogSettings())
logging.getLogger("serve.x").info("here")
print("logged", flush=True)
sys.stdin.read()
"""


def test_processes_of_one_name_keep_a_file_each_and_the_next_goes_on_with_it(tmp_path: Path) -> None:
    # Two replicas of the edge that turned one file over would lose each other's lines.
    def process() -> subprocess.Popen[str]:
        begun = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(tmp_path / "logs")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert begun.stdout is not None
        assert begun.stdout.readline() == "logged\n"
        return begun

    first, second = process(), process()
    files = {path.name: lines(path) for path in (tmp_path / "logs").glob("*.jsonl")}
    assert {name: told[0]["pid"] for name, told in files.items()} == {"edge.jsonl": first.pid, "edge-2.jsonl": second.pid}
    assert {told[0]["actor"] for told in files.values()} == {"edge"}
    first.kill()
    first.wait()
    third = process()
    assert [line["pid"] for line in lines(tmp_path / "logs" / "edge.jsonl")] == [first.pid, third.pid]
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    for each in (second, third):
        each.communicate()


def test_a_folder_that_takes_no_file_is_said_and_nothing_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("not a folder")
    assert open_log("RunHost", tmp_path / "logs", LogSettings()) is None
    assert "RunHost keeps no log" in caplog.text


def test_a_shell_that_was_made_outside_of_its_instance_keeps_nothing(tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:]
    logs.begin("RunHost", load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": "tiny"}))
    assert logging.getLogger().handlers == before
    assert list(tmp_path.iterdir()) == []
