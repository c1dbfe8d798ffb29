"""A delivery as it is said: a title and a text for people, a body for programs. The same at each try."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from perenne.messages.alerts import Delivery, Told

_BEGIN = {
    "firing": "",
    "worse": "Worse: ",
    "escalated": "Still open: ",
    "resolved": "Over: ",
    "summary": "",
    "test": "",
}
TITLE_CHARS_MAX = 200


def _headline(told: Told) -> str:
    begin = _BEGIN.get(told.transition, "")
    return (
        f"{begin}{told.title}"
        if told.transition in ("resolved", "test", "summary")
        else f"[{told.severity}] {begin}{told.title}"
    )


def title_of(delivery: Delivery) -> str:
    """One line: what happened, or how many things."""
    entries = delivery.entries
    if not entries:
        return f"[{delivery.severity}] Perenne"
    first = f"Perenne: {_headline(entries[0])}"
    more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return first[: TITLE_CHARS_MAX - len(more)] + more


def text_of(delivery: Delivery) -> str:
    """What is wrong, since when, and what to do, for each thing in it."""
    return "\n\n".join(_paragraph(told, len(delivery.entries) > 1) for told in delivery.entries)


def _paragraph(told: Told, with_title: bool) -> str:
    at = datetime.fromtimestamp(told.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [_headline(told)] if with_title else []
    lines += [line for line in (told.text, told.advice and f"What to do: {told.advice}", f"{told.event}, {at}") if line]
    return "\n".join(lines)


def body_of(delivery: Delivery) -> dict[str, Any]:
    """What a webhook carries: `type`, `timestamp` and `data`, as Standard Webhooks advises."""
    return {
        "type": "perenne.alerts",
        "timestamp": datetime.fromtimestamp(delivery.created_at, UTC).isoformat(timespec="milliseconds"),
        "data": {
            "delivery_id": delivery.id,
            "alert_id": delivery.alert_id,
            "severity": delivery.severity,
            "group": delivery.group,
            "title": title_of(delivery),
            "text": text_of(delivery),
            "entries": [asdict(told) for told in delivery.entries],
        },
    }
