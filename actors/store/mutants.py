"""Deliberate faults, by which tests show that their checks can fail. Inert unless `settings.chaos` is set."""

from dataclasses import dataclass

from perenne.mutants import ANSWER_BEFORE_COMMIT, NO_DEDUP, mutant_of
from perenne.settings import Settings


@dataclass(frozen=True, slots=True)
class Mutants:
    """`answer_before_commit`: callers hear of a write before it is on disk. `no_dedup`: a command id is not remembered."""

    answer_before_commit: bool = False
    no_dedup: bool = False


def mutants_of(settings: Settings) -> Mutants:
    """What PERENNE_MUTANT names, if this instance is there to be broken."""
    name = mutant_of(settings)
    return Mutants(answer_before_commit=name == ANSWER_BEFORE_COMMIT, no_dedup=name == NO_DEDUP)
