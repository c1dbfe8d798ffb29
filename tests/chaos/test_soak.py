"""A short soak, as `make soak` runs it for hours (docs/soak.md); and proof that it notices what breaks a promise.

The mutants are tried with PERENNE_SOAK_MUTANTS=1 alone: each starts an instance of its own, and the account that catches them is tried on
its own in tests/unit/test_soak.py."""

import os
import re
from pathlib import Path

import pytest

from tests.soak import plan, report
from tests.soak.running import Wanted, soak

SHORT = Wanted(
    25.0,
    seed=1,
    clients=4,
    gap_s=(1.0, 3.0),
    only=("kill StoreWriter", "kill edge", "kill IngestHost", "kill RunHost", "kill Supervisor"),
)
WRITES = ("conversation", "burst", "project")


@pytest.mark.timeout(600)
async def test_what_was_acknowledged_under_random_faults_is_there_once(tmp_path: Path) -> None:
    told = await soak(SHORT, tmp_path / "soak.json")
    print(report.page(told))
    assert told["failures"] == [], (
        f"again: make soak S={SHORT.seconds:g} SEED={SHORT.seed}; last: {told['last_operations'][-10:]}"
    )
    assert told["struck"] >= 1
    assert told["acknowledged"] > 50
    assert (tmp_path / "soak.json").is_file()


PATIENCE_S = 40.0  # what is not taken up again within this never is: the healthy need a few seconds


def mutant(name: str, seconds: float, gap_s: tuple[float, float], only: tuple[str, ...], kinds: tuple[str, ...]) -> Wanted:
    return Wanted(seconds, 1, 12, gap_s, only, kinds, name, stop_at_wrong=True, follow_s=PATIENCE_S)


MUTANTS = {
    "answer_before_commit": mutant("answer_before_commit", 240.0, (1.0, 2.0), ("kill StoreWriter",), WRITES),
    "no_dedup": mutant("no_dedup", 120.0, (1.0, 3.0), ("kill StoreWriter", "kill edge"), WRITES),
    "no_replay": mutant("no_replay", 60.0, (6.0, 9.0), ("kill RunHost",), ("ask", "stop", "conversation")),
    "skip_event": mutant("skip_event", 60.0, (20.0, 30.0), ("kill RunHost",), ("ask", "conversation")),
}

# What gives each away: a failure for another reason shows nothing.
SIGNS = {
    "answer_before_commit": r"404 .*no project|is not there",
    "no_dedup": r"409 .*an id is taken already",
    "no_replay": r"broke off without a word",
    "skip_event": r"events \[.*\] are not kept|shown .* but it ended with",
}


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("PERENNE_SOAK_MUTANTS"), reason="takes minutes: PERENNE_SOAK_MUTANTS=1 tries them")
@pytest.mark.parametrize("name", list(MUTANTS))
async def test_an_instance_that_breaks_a_promise_is_caught(name: str, tmp_path: Path) -> None:
    told = await soak(MUTANTS[name], tmp_path / "soak.json")
    assert re.search(SIGNS[name], "\n".join(told["failures"])), (
        f"{name} went unnoticed: the soak can't fail: {told['failures']}"
    )
    assert plan.told(plan.faults(1, MUTANTS[name].seconds, MUTANTS[name].gap_s, MUTANTS[name].only)) == told["plan"]
