"""The meter: what is told arrives as it was told, whoever tells it, and telling never fails."""

import threading
import time
from collections.abc import Mapping

import pytest

from perenne import metrics
from perenne.metrics import Meter, Metric

COUNTER = Metric("perenne_made_total", "counter", "made", ("kind",))
GAUGE = Metric("perenne_held", "gauge", "held")
HISTOGRAM = Metric("perenne_took_seconds", "histogram", "took", (), (0.1, 1.0))


class Kept:
    """A maker whose instruments keep what they were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, dict[str, str]]] = []

    def __call__(self, metric: Metric) -> "KeptInstrument":
        return KeptInstrument(metric, self.told)


class KeptInstrument:
    def __init__(self, metric: Metric, told: list[tuple[str, float, dict[str, str]]]) -> None:
        self._name, self._told = metric.name, told

    def record(self, value: float, labels: Mapping[str, str]) -> None:
        self._told.append((self._name, value, dict(labels)))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def meter(kept: Kept) -> Meter:
    meter = Meter()
    meter.begin("StoreWriter", kept)
    return meter


def test_counters_are_summed_gauges_are_the_last_and_each_observation_of_a_histogram_arrives(meter: Meter, kept: Kept) -> None:
    meter.tell(COUNTER, 1.0, "a")
    meter.tell(COUNTER, 2.0, "a")
    meter.tell(COUNTER, 5.0, "b")
    meter.tell(GAUGE, 3)
    meter.tell(GAUGE, 7)
    meter.tell(HISTOGRAM, 0.5)
    meter.tell(HISTOGRAM, 0.5)
    meter.hand_on()
    actor = {"actor": "StoreWriter"}
    assert sorted(kept.told, key=repr) == sorted(
        [
            ("perenne_took_seconds", 0.5, actor),
            ("perenne_took_seconds", 0.5, actor),
            ("perenne_made_total", 3.0, {**actor, "kind": "a"}),
            ("perenne_made_total", 5.0, {**actor, "kind": "b"}),
            ("perenne_held", 7, actor),
        ],
        key=repr,
    )
    meter.hand_on()
    assert len(kept.told) == 5, "nothing is told twice"


def test_nothing_is_kept_before_a_shell_gave_a_maker(kept: Kept) -> None:
    meter = Meter()
    meter.tell(COUNTER, 1.0, "a")
    meter.begin("RunHost", kept)
    meter.hand_on()
    assert kept.told == []


def test_what_many_threads_tell_is_counted_whole(meter: Meter, kept: Kept) -> None:
    def tell() -> None:
        for _ in range(2_000):
            meter.tell(COUNTER, 1.0, "a")

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meter.hand_on()
    meter.hand_on()
    assert sum(value for _, value, _ in kept.told) == 8_000


def test_an_instrument_a_look_or_a_label_that_fails_takes_nothing_else_along(meter: Meter, kept: Kept) -> None:
    def bad_look() -> None:
        raise RuntimeError("nothing to see")

    meter.look(bad_look)
    meter.look(lambda: meter.tell(GAUGE, 4))
    meter.tell(COUNTER, 1.0, "a", "one label too many")
    meter.hand_on()
    assert kept.told == [("perenne_held", 4, {"actor": "StoreWriter"})]


def test_what_waits_is_bounded_and_what_is_dropped_is_logged(
    meter: Meter, kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "WAITING_MAX", 10)
    for _ in range(15):
        meter.tell(COUNTER, 1.0, "a")
    meter.hand_on()
    assert [value for _, value, _ in kept.told] == [10.0]
    assert "5 numbers were dropped" in caplog.text
    meter.tell(COUNTER, 1.0, "a")
    meter.hand_on()
    assert len(kept.told) == 2


def test_telling_takes_a_few_microseconds_at_most(meter: Meter) -> None:
    """An instrument of Ray's takes 10 to 30 µs: an answer of one millisecond may wait for none of them."""
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(2_000):
            meter.tell(COUNTER, 1.0, "a")
        best = min(best, (time.perf_counter() - began) / 2_000)
    assert best < 5e-6, f"{best * 1e6:.1f} µs"
