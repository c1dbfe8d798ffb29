"""When a message that did not arrive is tried again, and when it is given up."""

import random
from dataclasses import dataclass

FIRST_S = 5.0
LONGEST_S = 900.0
# A message is tried for 24 h at least from when it was due; it may become due up to an hour or two after it was written, when its group
# has just been told of.
KEPT_S = 26 * 3_600.0
TRIES_MIN = 8  # about 20 minutes: for one that was kept up behind others, or is sent again by hand, and is old by then
UNFIT_TRIES = 5  # of one that the sink finds wrong in itself: it would hold up those behind it for a day


@dataclass(frozen=True, slots=True)
class Again:
    """Pending again, after so long."""

    in_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A dead letter, until somebody sends it again."""


def after_failure(
    tries: int, waited_s: float, seed: random.Random, *, unfit: bool = False, asked_s: float | None = None
) -> Again | GiveUp:
    """What follows the `tries`th try in vain of a message that has waited for `waited_s`. A sink may ask for a longer pause, up to
    the longest."""
    if (waited_s >= KEPT_S and tries >= TRIES_MIN) or (unfit and tries >= UNFIT_TRIES):
        return GiveUp()
    pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(tries - 1, 16))
    jittered_s = pause_s * seed.uniform(0.75, 1.0)
    return Again(min(LONGEST_S, max(jittered_s, FIRST_S * 0.75, asked_s or 0.0)))
