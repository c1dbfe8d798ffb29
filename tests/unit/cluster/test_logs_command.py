"""`perenne logs`: all files as one, by time; what is asked for and no more; what comes while somebody looks."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster import logs_command
from cluster.commands import app
from cluster.log_lines import LogLine, last_of, merged
from cluster.logs_command import Follower, plain


def line(second: int, message: str, actor: str = "RunHost", level: str = "info", **ids: str) -> str:
    told = {"time": f"2026-11-26T12:00:{second:02}.000Z", "level": level, "actor": actor, "pid": 7, "logger": "actors.x"}
    return json.dumps({**told, "message": message, **ids}) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path))
    monkeypatch.setenv("PERENNE_PROFILE", "tiny")
    made = tmp_path / "logs"
    made.mkdir()
    ours = {"request_id": "req_1"}
    (made / "edge.jsonl").write_text(
        line(1, "asked", "edge", request_id="req_1", run_id="run_1") + line(9, "other", "edge", request_id="req_2")
    )
    (made / "RunHost.jsonl.1").write_text(line(2, "begins", run_id="run_1", **ours))
    (made / "RunHost.jsonl").write_text(
        line(5, "goes on", run_id="run_1") + line(4, "earlier") + "torn {\n" + line(6, "ends", level="error", run_id="run_1")
    )
    (made / "language.jsonl").write_text(line(3, "wrote 'x'", "language", run_id="run_1", **ours))
    (made / "up.log").write_text("no line of ours\n")
    return made


def asked(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["logs", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(raw)["message"] for raw in done.stdout.splitlines()]


def test_all_files_are_one_by_time(folder: Path) -> None:
    assert [one.message for one in merged(folder)] == ["asked", "begins", "wrote 'x'", "earlier", "goes on", "ends", "other"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--request", "req_1"), ["asked", "begins", "wrote 'x'", "goes on", "ends"]),  # the run went on after a death
        (("--request", "req_2"), ["other"]),
        (("--run", "run_1", "--actor", "RunHost"), ["begins", "goes on", "ends"]),
        (("--actor", "e*", "--actor", "language"), ["asked", "wrote 'x'", "other"]),
        (("--level", "warning"), ["ends"]),
        (("--last", "2"), ["ends", "other"]),
        (("--request", "req_9"), []),
    ],
)
def test_what_is_asked_for_is_shown_and_no_more(folder: Path, arguments: tuple[str, ...], found: list[str]) -> None:
    assert asked(*arguments) == found


def test_json_is_each_line_as_it_stands(folder: Path) -> None:
    done = CliRunner().invoke(app, ["logs", "--json"])
    assert sorted(done.stdout.splitlines()) == sorted(
        raw for path in folder.glob("*.jsonl*") for raw in path.read_text().splitlines() if raw.startswith("{")
    )


def test_a_level_that_there_is_not_is_said(folder: Path) -> None:
    done = CliRunner().invoke(app, ["logs", "--level", "loud"])
    assert done.exit_code == 2
    assert "expected one of debug, info, warning, error" in done.output


def test_a_home_without_logs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["logs"])
    assert done.exit_code == 0
    assert "there is nothing in" in done.output


def test_a_follower_sees_each_new_line_once_across_the_turning_over_of_a_file(folder: Path) -> None:
    follower = Follower(folder)
    assert follower.new() == []
    path = folder / "RunHost.jsonl"
    with open(path, "a") as file:
        file.write(line(10, "ten") + line(12, "twelve")[:20])
    with open(folder / "language.jsonl", "a") as file:
        file.write(line(9, "nine", "language"))
    assert [one.message for one in follower.new()] == ["nine", "ten"]
    with open(path, "a") as file:
        file.write(line(12, "twelve")[20:])
    path.replace(folder / "RunHost.jsonl.1")
    path.write_text(line(13, "thirteen"))
    (folder / "Notifier.jsonl").write_text(line(11, "eleven", "Notifier"))
    assert [one.message for one in follower.new()] == ["eleven", "twelve", "thirteen"]
    assert follower.new() == []


def test_follow_learns_which_run_a_request_began(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    come = [
        [line(20, "asked", "edge", request_id="req_8", run_id="run_8"), line(20, "another", "edge", run_id="run_7")],
        [line(21, "goes on", run_id="run_8")],
    ]

    class Came(Follower):
        def new(self) -> list[LogLine]:
            if not come:
                raise KeyboardInterrupt
            with open(folder / "RunHost.jsonl", "a") as file:
                file.write("".join(come.pop(0)))
            return super().new()

    monkeypatch.setattr(logs_command, "Follower", Came)
    monkeypatch.setattr(logs_command, "LOOK_S", 0.0)
    done = CliRunner().invoke(app, ["logs", "--follow", "--request", "req_8", "--json"])
    assert done.exit_code == 130
    assert [json.loads(raw)["message"] for raw in done.stdout.splitlines()] == ["asked", "goes on"]


def test_a_line_for_people_has_the_pcs_own_time_the_ids_and_the_exception(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = line(1, "failed", level="error", request_id="req_1", exception="Traceback\nValueError: x")
    (folder / "x.jsonl").write_text(raw)
    (told,) = last_of(folder / "x.jsonl", 5)
    monkeypatch.setenv("TZ", "UTC")
    shown = plain(told)
    assert shown.splitlines()[0].endswith("error   RunHost: failed  [req_1]")
    assert shown.splitlines()[1:] == ["    Traceback", "    ValueError: x"]
    assert os.linesep in shown
