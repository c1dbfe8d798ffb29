"""Supervision in a running instance that is there to be broken: crash loops, growth, a disk that fills, deaths and their records, the drain.

Each test leaves the instance ready; the last one ends it."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from perenne.relief import pss_bytes
from tests.live.running import RunningInstance, mark_of_run

MB = 1 << 20
MARGIN = 4 << 30  # other tests write on the same disk meanwhile
BUDGET = 400 * MB
GROWN = 500 * MB
CONFIG = """
chaos: true
supervision: {{starts_max: 4, hold_s: 4, drain_s: 5}}
memory: {{low_share: 0, budgets: {{StoreReader: {budget}}}}}
disk: {{reserve_bytes: {reserve}}}
"""
WITHIN_S = 90.0  # on a busy PC; alone a third of it


@pytest.fixture(scope="module")
def broken() -> Iterator[RunningInstance]:
    running = RunningInstance()
    reserve = max(1, shutil.disk_usage(running.home).free - MARGIN)
    (running.home / "config.yaml").write_text(CONFIG.format(budget=BUDGET, reserve=reserve))
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def house(broken: RunningInstance) -> RunningInstance:
    broken.await_ready()
    return broken


def events(house: RunningInstance, after: int = 0) -> list[dict[str, Any]]:
    try:
        lines = (house.home / "run" / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [event for event in map(json.loads, lines) if event["seq"] > after]


def last_seq(house: RunningInstance) -> int:
    return max((event["seq"] for event in events(house)), default=0)


def crashes(house: RunningInstance) -> list[dict[str, Any]]:
    done = house.command("crashes", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ordered(house: RunningInstance, name: str) -> Path:
    folder = house.home / "run" / "misfortune"
    folder.mkdir(exist_ok=True)
    return folder / name


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_death_leaves_a_record_with_its_signal_and_no_secret(house: RunningInstance, number: signal.Signals) -> None:
    pid = house.child("StoreReader-0").pid
    os.kill(pid, number)
    assert house.until(lambda: any(crash["pid"] == pid for crash in crashes(house)), WITHIN_S)
    (crash,) = [crash for crash in crashes(house) if crash["pid"] == pid]
    assert (crash["name"], crash["signal"], crash["exit_code"]) == ("StoreReader-0", number.name, None)
    assert house.key not in json.dumps(crash)
    if number == signal.SIGSEGV:
        assert crash["log"], "its last words"
    house.await_ready()
    shown = house.command("status").stdout
    assert "`perenne crashes` shows them" in shown


def test_the_death_of_the_control_plane_is_recorded_and_every_actor_stays(house: RunningInstance) -> None:
    before = {child.name: child.pid for child in house.await_ready().children if child.kind == "actor"}
    (pid,) = house.pids_of("gcs_server")
    os.kill(pid, signal.SIGKILL)
    assert house.until(lambda: any(crash["pid"] == pid for crash in crashes(house)), WITHIN_S)
    (crash,) = [crash for crash in crashes(house) if crash["pid"] == pid]
    assert (crash["name"], crash["signal"]) == ("gcs", "SIGKILL")
    status = house.await_ready()
    assert {child.name: child.pid for child in status.children if child.kind == "actor"} == before
    assert house.until(lambda: any(event["subject"] == "gcs" for event in events(house)), WITHIN_S)


def test_a_reader_that_cannot_stay_up_takes_its_group_down_once_and_the_group_is_held_and_tried_again(
    house: RunningInstance,
) -> None:
    seen, writer = last_seq(house), house.child("StoreWriter").pid
    misfortune = ordered(house, "StoreReader-0")
    misfortune.write_text("exit 3")
    house.kill_child("StoreReader-0")

    def held() -> bool:
        return any(event["kind"] == "group_held" for event in events(house, seen))

    assert house.until(held, WITHIN_S), events(house, seen)
    status = house.status()
    assert status is not None
    assert not status.ready
    misfortune.unlink()
    house.await_ready(WITHIN_S)  # by itself
    told = [event["kind"] for event in events(house, seen)]
    assert told.count("group_restarted") == 1
    assert told.count("child_died") <= 1
    assert len(told) < 12, told
    assert house.child("StoreWriter").pid != writer, "its group went down with it"


def test_a_held_writer_is_said_once_reads_go_on_and_its_owner_lets_it_go(house: RunningInstance) -> None:
    seen = last_seq(house)
    misfortune = ordered(house, "StoreWriter")
    misfortune.write_text("exit 3")
    house.kill_child("StoreWriter")

    def held() -> bool:
        status = house.status()
        return status is not None and any("the group database is held" in reason for reason in status.reasons)

    assert house.until(held, WITHIN_S), events(house, seen)
    with house.client() as http:

        def reads() -> bool:
            return http.get("/api/projects").status_code == 200

        assert house.until(reads, WITHIN_S), "what still answers goes on answering"
        ready = http.get("/readyz")
    assert ready.status_code == 503
    misfortune.unlink()
    done = house.command("restart", "database", "--json")
    assert done.returncode == 0, done.stderr
    assert "StoreWriter" in json.loads(done.stdout)["done"]
    house.await_ready(WITHIN_S)
    assert house.command("restart", "nobody").returncode == 6


def test_a_child_over_its_budget_is_told_of_and_replaced_when_it_has_nothing_to_do(house: RunningInstance) -> None:
    seen, pid = last_seq(house), house.child("StoreReader-0").pid
    assert 0 < pss_bytes(pid) < BUDGET
    ordered(house, "StoreReader-0").write_text(f"grow {GROWN}")
    assert house.until(lambda: pss_bytes(pid) > BUDGET, 20)
    assert house.until(lambda: house.child("StoreReader-0").pid not in (0, pid), WITHIN_S)
    house.await_ready()
    assert pss_bytes(house.child("StoreReader-0").pid) < BUDGET
    assert house.until(lambda: "child_replaced" in [event["kind"] for event in events(house, seen)], 10)
    assert [e["kind"] for e in events(house, seen) if e["subject"] == "StoreReader-0"] == [
        "child_over_budget",
        "child_replaced",
    ]


def test_a_disk_that_is_nearly_full_takes_nothing_new_and_writing_comes_back_by_itself(house: RunningInstance) -> None:
    ballast = house.home / "ballast"
    with house.client() as http:
        held = http.post("/api/projects", json={"name": f"disk-{mark_of_run()}"})
        assert held.status_code == 201, held.text
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * MARGIN)
        try:
            refused = refused_soon(house, http)
            assert "nearly full" in refused.json()["error"]["message"]
            upload = http.post(f"/api/projects/{held.json()['id']}/documents", files={"file": ("a.txt", b"some words")})
            assert upload.status_code == 507, upload.text
            assert http.get("/api/projects").status_code == 200
            assert http.post("/api/search", json={"query": "lighthouse", "k": 3}).status_code == 200
            assert http.delete(f"/api/projects/{held.json()['id']}").status_code in (200, 204), "what frees room is done"
            assert house.until(lambda: any("nearly full" in note for note in notices(house)), 10)
            assert any("nearly full" in note for note in http.get("/readyz").json()["notices"])
        finally:
            ballast.unlink()
        assert house.until(lambda: http.post("/api/projects", json={"name": mark_of_run()}).status_code == 201, 10)
        assert house.until(lambda: not any("nearly full" in note for note in notices(house)), 10)


def refused_soon(house: RunningInstance, http: httpx.Client) -> httpx.Response:
    answers: list[httpx.Response] = []

    def full() -> bool:
        answers.append(http.post("/api/projects", json={"name": mark_of_run()}))
        return answers[-1].status_code == 507

    assert house.until(full, 10), answers[-1].text
    return answers[-1]


def notices(house: RunningInstance) -> tuple[str, ...]:
    status = house.status()
    return status.notices if status is not None else ()


def test_a_stop_refuses_new_work_and_says_how_long_it_took(house: RunningInstance) -> None:
    """The last of this file: the instance ends."""
    with house.client() as http:
        project = http.post("/api/projects", json={"name": mark_of_run()}).json()["id"]
        for _ in range(4):
            conversation = http.post("/api/conversations", json={"project": project}).json()["id"]
            tale = {"grounded": False, "max_tokens": 700, "temperature": 0.0, "seed": 7}  # longer than any drain
            body = {"text": "Write a very long story about a lighthouse. Then count to five hundred in words.", "options": tale}
            asked = http.post(f"/api/conversations/{conversation}/messages", json=body)
            assert asked.status_code in (200, 201, 202), asked.text
        refused: list[httpx.Response] = []

        def knock() -> None:
            until = time.monotonic() + 30
            while time.monotonic() < until and not refused:
                try:
                    answer = http.post("/api/projects", json={"name": mark_of_run()}, timeout=5)
                except httpx.HTTPError:
                    return
                if answer.status_code == 503:
                    refused.append(answer)

        knocking = threading.Thread(target=knock)
        knocking.start()
        begun = time.monotonic()
        assert house.stop() == 0
        took_s = time.monotonic() - begun
        knocking.join(35)
    (answer,) = refused
    assert int(answer.headers["Retry-After"]) >= 1
    assert "it is stopping" in answer.json()["error"]["message"]
    said = house.said("drained in ")
    assert said is not None
    assert float(said.removeprefix("drained in ").split(" s")[0]) < 15  # four such tales take far longer
    assert took_s < 60
    assert [event["kind"] for event in events(house)][-1] == "stopped"
