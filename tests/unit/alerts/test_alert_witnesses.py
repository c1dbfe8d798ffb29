"""Several that see a part of the same: none overwrites another."""

from actors.alerts.witnesses import FRESH_S, Witnesses
from perenne.messages.alerts import Signal


def slow(value: float) -> tuple[Signal, ...]:
    return (Signal(name="api.p99_ms", value=value, detail=f"{value:g}"),)


def refused(value: float) -> tuple[Signal, ...]:
    return (Signal(name="keys.refused", value=value, adds=True),)


def test_the_slowest_of_two_replicas_counts_whoever_speaks_last() -> None:
    witnesses = Witnesses()
    witnesses.merged("edge-1", slow(3_000), 0.0)
    (whole,) = witnesses.merged("edge-2", slow(20), 1.0)
    assert (whole.value, whole.detail) == (3_000, "3000")
    (whole,) = witnesses.merged("edge-1", slow(30), 15.0)
    assert whole.value == 30


def test_what_two_replicas_refused_is_added() -> None:
    witnesses = Witnesses()
    witnesses.merged("edge-1", refused(20), 0.0)
    assert witnesses.merged("edge-2", refused(15), 1.0)[0].value == 35
    assert witnesses.merged("edge-1", refused(0), 15.0)[0].value == 15


def test_a_replica_that_is_no_more_does_not_count() -> None:
    witnesses = Witnesses()
    witnesses.merged("edge-1", slow(3_000), 0.0)
    assert witnesses.merged("edge-2", slow(20), FRESH_S)[0].value == 3_000
    assert witnesses.merged("edge-2", slow(20), FRESH_S + 0.1)[0].value == 20


def test_who_speaks_for_itself_alone_is_heard_as_it_says() -> None:
    witnesses = Witnesses()
    witnesses.merged("", slow(3_000), 0.0)
    assert witnesses.merged("", slow(20), 1.0) == slow(20)
