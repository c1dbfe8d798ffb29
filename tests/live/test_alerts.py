"""Alerts of a running instance, whose AlertCenter is killed again and again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.live.running import ROOT, RunningInstance

ALWAYS = "disk_low: {below: 1.0e+15, clear_above: 1.0e+15, for_s: 0, keep_s: 0}\n"  # every disk has less room than that


@pytest.fixture(scope="module")
def alarmed() -> Iterator[RunningInstance]:
    running = RunningInstance()
    (running.home / "alerts.yaml").write_text(ALWAYS)
    try:
        yield running.start()
    finally:
        running.close()


def kill_center(instance: RunningInstance) -> None:
    pid = instance.child("AlertCenter").pid
    os.kill(pid, signal.SIGKILL)
    assert instance.until(lambda: instance.child("AlertCenter").pid not in (0, pid), 60)
    instance.await_ready()


def about_disk(http: httpx.Client) -> list[dict[str, Any]]:
    return [alert for alert in http.get("/api/alerts").json()["items"] if alert["event"] == "disk.low"]


def test_an_alert_lives_through_deaths_of_its_centre_and_is_told_once(alarmed: RunningInstance) -> None:
    words = ["add", "hook", "https://192.0.2.1/hook", "--webhook", "--event", "disk.low", "--json"]
    typed = [sys.executable, "-c", "from actors.alerts.channel_commands import app; app()", *words]
    added = subprocess.run(typed, env=alarmed.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert added.returncode == 0, added.stderr
    with alarmed.client() as http:
        assert alarmed.until(lambda: len(about_disk(http)) == 1, 60)
        (first,) = about_disk(http)
        for _ in range(3):
            kill_center(alarmed)
        assert [(alert["id"], alert["state"]) for alert in about_disk(http)] == [(first["id"], "firing")]
        (alarmed.home / "alerts.yaml").write_text("")  # the shipped rules from the next life on: this PC has room
        kill_center(alarmed)
        assert alarmed.until(lambda: about_disk(http)[0]["state"] == "resolved", 120)
        assert [alert["id"] for alert in about_disk(http)] == [first["id"]]
        rows = http.get("/api/deliveries").json()["items"]
        told = sorted(entry["transition"] for row in rows for entry in row["entries"])
        assert told in (["resolved"], ["firing", "resolved"]), "the channel may have been added after it began"
