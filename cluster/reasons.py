"""What keeps the instance from being ready, in plain words."""

from collections.abc import Sequence

from cluster.tree import Child
from perenne import names
from perenne.messages.health import ChildState, ChildStatus, Health
from perenne.messages.models import ModelState

_MODEL_STATES: dict[str, ChildState] = {"ready": "ready", "unloaded": "ready", "loading": "recovering"}


def of_model(state: ModelState) -> tuple[ChildState, str]:
    """A model replica's own state as a child's state and words: `downloading, 34 %`."""
    child: ChildState = _MODEL_STATES.get(state.phase, "degraded")
    if child == "ready":
        return child, "" if state.phase == "ready" else "unloaded: loads with the next question"
    share = "" if state.progress is None else f", {state.progress * 100:.0f} %"
    said = state.detail.strip()
    more = f" ({said})" if said and state.phase in ("missing", "failed") else ""
    return child, f"{state.phase}{share}{more}"


def health_of(state: ModelState) -> Health:
    """A model replica's own state as that of a child which answered."""
    status, detail = of_model(state)
    return Health(
        name=state.role, status=status, pid=state.pid, queue=state.queue, progress_age_s=state.progress_age_s, detail=detail
    )


def why_not(children: Sequence[tuple[Child, ChildStatus]]) -> tuple[str, ...]:
    """One sentence a child that is needed and not ready."""
    reasons: list[str] = []
    for child, status in children:
        if not child.needed or status.state == "ready":
            continue
        is_model = child.kind == "application" and child.route is None
        label = f"{child.name} model" if is_model else child.name
        if is_model and status.detail:
            reasons.append(f"{label}: {status.detail}")
        elif status.state == "degraded":
            reasons.append(f"{label} works in part only: {status.detail}")
        else:
            reasons.append(f"{label} is {status.state}" + (f": {status.detail}" if status.detail else ""))
    return tuple(reasons)


_WORKS_WITHOUT = {
    names.LANGUAGE: "without the language model search goes on, and a question is answered with the passages that were found",
    names.EMBEDDING: "without the embedding model search goes by words alone",
    names.RERANKING: "without the reranking model passages come in the order in which they were found",
    names.INGEST_HOST: "documents that are added wait until they can be read in",
}


def what_works(children: Sequence[tuple[Child, ChildStatus]]) -> tuple[str, ...]:
    """What is still done, and how, while a child is away."""
    return tuple(
        _WORKS_WITHOUT[child.name] for child, status in children if child.name in _WORKS_WITHOUT and status.state != "ready"
    )
