"""The told instance's alerts: what fires because a test says so, and what the page does about it."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[Any, int]


@dataclass
class FakeAlerts:
    """`tell` is the feed's: every change of an alert is told."""

    tell: Callable[[str, str, str], None]
    all: dict[str, dict[str, Any]] = field(default_factory=dict)
    silences: dict[str, dict[str, Any]] = field(default_factory=dict)
    channels: list[dict[str, Any]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def fire(self, title: str, severity: str = "critical", event: str = "disk.full", **given: Any) -> dict[str, Any]:
        id, now = f"alr_{next(self.ids)}", time.time()
        alert = {
            "id": id, "fingerprint": id, "severity": severity, "state": "firing", "event": event, "title": title,
            "text": "Nothing new is taken in.", "advice": "Free some room: `perenne status` says how much.",
            "labels": {"rule": id}, "group": "", "first_seen": now, "last_seen": now, "resolved_at": None, "count": 1,
            "acknowledged_at": None, "acknowledged_by": None, "silenced_by": None, "inhibited_by": None, "told_at": now, "level": 0,
        }  # fmt: skip
        self.all[id] = alert | given
        self.tell("alert", id, "insert")
        return self.all[id]

    def change(self, alert: dict[str, Any], **values: Any) -> dict[str, Any]:
        alert |= values
        self.tell("alert", alert["id"], "update")
        return alert

    def end(self, alert: dict[str, Any]) -> None:
        self.change(alert, state="resolved", resolved_at=time.time())

    def channel(self, name: str, error: str | None = None) -> None:
        made = {"id": f"chn_{name}", "name": name, "kind": "apprise", "address": "ntfy://…", "created_at": time.time()}
        self.channels.append(made | {"delivered_at": None, "error": error})

    def silence(self, asked: dict[str, Any]) -> dict[str, Any]:
        id, now = f"sil_{next(self.ids)}", time.time()
        made = {"id": id, "events": asked["events"], "labels": asked["labels"], "reason": asked.get("reason", "")}
        self.silences[id] = made | {"created_by": "owner", "created_at": now, "ends_at": now + asked["for_s"]}
        for alert in self.all.values():
            if alert["event"] in asked["events"] and asked["labels"].items() <= alert["labels"].items():
                self.change(alert, silenced_by=id)
        return self.silences[id]

    def end_silence(self, id: str) -> None:
        del self.silences[id]
        for alert in self.all.values():
            if alert["silenced_by"] == id:
                self.change(alert, silenced_by=None)

    def answer(self, method: str, parts: list[str], given: dict[str, str], body: bytes) -> Answer | None:
        """Of a request under `/api`; None when it is about something else."""
        match (method, *parts):
            case ("GET", "alerts"):
                found = [each for each in self.all.values() if each["state"] == given["state"]]
                return {"items": found[::-1], "next": None}, 200
            case ("POST", "alerts", id, "acknowledge"):
                return self.change(self.all[id], acknowledged_at=time.time(), acknowledged_by="my laptop"), 200
            case ("GET", "silences"):
                return list(self.silences.values()), 200
            case ("POST", "silences"):
                return self.silence(json.loads(body)), 201
            case ("DELETE", "silences", id):
                self.end_silence(id)
                return {"id": id}, 200
            case ("GET", "channels"):
                return self.channels, 200
            case ("POST", "alert-tests"):
                made = self.fire("This is a test", "info", "test")
                self.end(made)
                return made, 202
            case _:
                return None
