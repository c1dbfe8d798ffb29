"""What an earlier attempt left behind: read from the run's events, so that work is not done twice."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from perenne.messages.records import RunEvent


@dataclass(slots=True)
class Past:
    """`steps` by name, the newest of each; `text` what followers have seen of the answer; `sources` whether they saw any."""

    steps: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    text: str = ""
    sources: bool = False
    hits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def past_of(events: Iterable[RunEvent]) -> Past:
    """Fold a run's events, in order."""
    past = Past()
    for event in events:
        if event.kind == "step":
            past.steps[str(event.data.get("name"))] = event.data
        elif event.kind == "delta":
            past.text += str(event.data.get("text", ""))
        elif event.kind == "restarted":
            past.text = ""
        elif event.kind == "sources":
            past.sources = True
            past.hits = list(event.data.get("hits", []))
    return past
