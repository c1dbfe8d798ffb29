"""Deliberate faults, by which tests show that their checks can fail. Inert unless `settings.chaos` is set."""

import os

from perenne.settings import Settings

ANSWER_BEFORE_COMMIT = "answer_before_commit"  # callers hear of a write before it is on disk
NO_DEDUP = "no_dedup"  # a command id is not remembered
SKIP_EVENT = "skip_event"  # server-sent events leave out every fifth of a run that holds words
NO_REPLAY = "no_replay"  # after a death nothing is taken up again: no open run, nothing of the feed


def mutant_of(settings: Settings) -> str:
    """The fault that PERENNE_MUTANT names, if this instance is there to be broken; else an empty string."""
    return os.environ.get("PERENNE_MUTANT", "") if settings.chaos else ""
