"""`perenne top`: what it makes of what it sees."""

import os
from pathlib import Path

from rich.console import Console

from cluster.instance import Instance
from cluster.top import Looker, Picture, Rate, Row
from cluster.top_command import drawn
from perenne.settings import load_settings


def test_a_rate_is_of_the_time_between_two_counts_that_differ() -> None:
    rate = Rate()
    rate.see(100.0, 0.0)
    assert rate.per_s is None
    rate.see(100.0, 5.0)
    assert rate.per_s is None, "it may not have been handed on yet"
    rate.see(160.0, 30.0)
    assert rate.per_s == 2.0
    rate.see(160.0, 60.0)
    assert rate.per_s == 2.0
    rate.see(160.0, 130.0)
    assert rate.per_s == 0.0, "nobody asked for a long time"
    rate.see(10.0, 140.0)  # the edge was started anew
    rate.see(20.0, 150.0)
    assert rate.per_s == 1.0


def test_a_supervisor_that_is_away_is_said_and_the_disk_is_told_all_the_same(tmp_path: Path) -> None:
    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": "tiny"})
    away = Instance(
        home=str(tmp_path), port_base=20_000, ray_dir=str(tmp_path), ray_address="", token_path="", http="", dashboard="",
        root_pid=os.getpid(), version="", started_at=0.0,
    )  # fmt: skip
    picture = Looker(settings, away).look()
    assert not picture.ready
    assert "Supervisor" in picture.reasons[0]
    assert picture.disk_free_bytes > 0
    assert picture.rows == ()


def test_the_picture_says_what_is_known_and_marks_what_is_not() -> None:
    rows = (
        Row(name="StoreWriter", state="ready", pid=412, restarts=2, cpu_percent=12.34, pss_bytes=65_000_000, queue=7),
        Row(name="edge", state="starting", pid=0, restarts=0, cpu_percent=None, pss_bytes=0, queue=None),
    )
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115 - rich writes to it
    picture = Picture(
        at=0.0,
        ready=False,
        reasons=("edge: it [starts]",),
        rows=rows,
        requests_per_s=3.25,
        runs=1,
        disk_free_bytes=5_000_000_000,
    )
    console.print(drawn(picture, "http://127.0.0.1:8000"))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["http://127.0.0.1:8000", "not", "ready:", "edge:", "it", "[starts]"]
    assert lines[1].split() == ["requests/s", "3.2", "answers", "1", "jobs", "-", "disk", "5.0", "GB", "free"]
    assert lines[-2].split() == ["StoreWriter", "ready", "412", "12.3", "65", "7", "2"]
    assert lines[-1].split() == ["edge", "starting", "-", "-", "-", "-", "0"]
