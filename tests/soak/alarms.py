"""Whether each fault that its owner must hear of was told once, arrived once and was taken back.

What was told is asked of `perenne alerts`; what arrived, of a webhook that listens here."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.contract.sinks import HttpSink
from tests.live.running import ROOT, RunningInstance
from tests.soak.faults import Blow

# Rules of configs/alerts.yaml that go off here sooner: a soak lasts minutes.
SOONER = "disk_full: {for_s: 2, keep_s: 5}\nchild_crash_loop: {keep_s: 10}\n"
# What each fault must raise, and how long after its end it is over at the latest.
EXPECTED = {"fill": ("disk.full", 90.0), "crash_loop": ("supervision.crash_loop", 780.0)}
_COMMAND = "from {module} import app; app()"
_ARRIVES_WITHIN_S = 60.0


@dataclass
class Told:
    """What came of alerts. `there` false: this instance has no AlertCenter, and nothing is counted."""

    there: bool
    raised: int | None = None
    resolved: int | None = None
    delivered: int | None = None
    doubled: int | None = None
    expected: list[dict[str, Any]] | None = None
    by_event: dict[str, int] | None = None


class Alarms:
    """`begin` adds the channel; `end` asks what there was and compares."""

    def __init__(self, instance: RunningInstance) -> None:
        self._instance, self.there = instance, importlib.util.find_spec("actors.alerts.alert_commands") is not None
        self._sink = HttpSink()

    def _perenne(self, module: str, *words: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND.format(module=f"actors.alerts.{module}"), *words, "--json"],
            env=self._instance.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(
                f"perenne {module} {' '.join(words)}: {done.returncode} {done.stderr[-500:]} {done.stdout[-500:]}"
            )
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    async def begin(self) -> None:
        if self.there:
            await asyncio.to_thread(
                self._perenne, "channel_commands", "add", "soak", self._sink.url(), "--webhook", "--severity", "debug"
            )

    def close(self) -> None:
        self._sink.close()

    async def end(self, blows: list[Blow]) -> tuple[Told, list[str]]:
        """What was told, and what is wrong with it."""
        if not self.there:
            return Told(False), []
        begun = time.monotonic()
        while True:
            alerts = await asyncio.to_thread(self._perenne, "alert_commands", "list", "--all", "--limit", "1000")
            told, wrong, waiting = judge(alerts, self._arrived(), blows, time.time())
            if not waiting or time.monotonic() - begun > _ARRIVES_WITHIN_S:
                return told, wrong + waiting
            await asyncio.sleep(1.0)

    def _arrived(self) -> list[tuple[str, str, str]]:
        """(key, alert id, transition) of everything that came."""
        return [
            (got.key, entry["alert_id"], entry["transition"])
            for got in list(self._sink.got)
            for entry in json.loads(got.body)["data"]["entries"]
        ]


def judge(
    alerts: list[dict[str, Any]], arrived: list[tuple[str, str, str]], blows: list[Blow], now: float
) -> tuple[Told, list[str], list[str]]:
    """What there was, what is wrong, and what may still come."""
    wrong, waiting, expected = list[str](), list[str](), list[dict[str, Any]]()
    firing = Counter(alert for _, alert, transition in {*arrived} if transition == "firing")
    over = Counter(alert for _, alert, transition in {*arrived} if transition == "resolved")
    twice = [alert for alert, many in firing.items() if many > 1]
    wrong += [f"alert {alert} was told to begin {firing[alert]} times" for alert in twice]
    for blow in blows:
        if not blow.struck or blow.fault.kind not in EXPECTED:
            continue
        event, within_s = EXPECTED[blow.fault.kind]
        found = [
            each for each in alerts
            if each["event"] == event and (blow.fault.target == "disk" or blow.fault.target in each["title"])
            and each["first_seen"] < blow.ended_at + 60 and (each["resolved_at"] or now) > blow.began_at
        ]  # fmt: skip
        told = {
            "fault": blow.fault.number, "event": event, "raised": len(found),
            "delivered": sum(firing[each["id"]] for each in found),
            "resolved": sum(each["state"] == "resolved" for each in found),
            "resolution_delivered": sum(over[each["id"]] for each in found),
        }  # fmt: skip
        expected.append(told)
        who = f"fault {blow.fault.number} ({blow.fault.name}), {event}"
        if told["raised"] != 1:
            (waiting if not found else wrong).append(f"{who}: {told['raised']} alerts where one was expected")
        elif not told["delivered"]:
            waiting.append(f"{who}: it did not arrive")
        if found and now > blow.ended_at + within_s and told["resolution_delivered"] != told["raised"]:
            waiting.append(f"{who}: it is over since {now - blow.ended_at:.0f} s and nobody was told")
    keys = Counter(key for key, _, _ in {(key, alert, transition) for key, alert, transition in arrived})
    return (
        Told(
            True,
            raised=len(alerts),
            resolved=sum(each["state"] == "resolved" for each in alerts),
            delivered=len(keys),
            doubled=len(twice),
            expected=expected,
            by_event=dict(Counter(each["event"] for each in alerts)),
        ),
        wrong,
        waiting,
    )
