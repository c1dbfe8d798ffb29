"""What is done before memory and disk are full, in which order, and that nothing is said or done twice."""

from cluster.pressure import REPLACED_AGAIN_S, DiskPressure, MemoryPressure, Seen, Use

GB = 1 << 30


def use(name: str = "StoreReader-0", pss: int = 100 << 20, budget: int = GB, idle: bool = True) -> Use:
    return Use(name=name, pss=pss, budget=budget, idle=idle)


def seen(*uses: Use, available: int = 4 * GB) -> Seen:
    return Seen(available=available, total=8 * GB, uses=uses)


def done(actions) -> list[tuple[str, str]]:
    return [(action.what, action.name) for action in actions]


def test_enough_of_all_calls_for_nothing() -> None:
    pressure = MemoryPressure(0.08)
    assert pressure.decide(seen(use()), 0.0) == []
    assert pressure.notices == ()


def test_a_child_over_its_budget_is_told_of_then_relieved_then_replaced_when_it_is_idle() -> None:
    pressure = MemoryPressure(0.08)
    large = use(pss=2 * GB)
    busy = use(pss=2 * GB, idle=False)
    assert done(pressure.decide(seen(large), 0.0)) == [("note", "StoreReader-0"), ("relieve", "StoreReader-0")]
    assert done(pressure.decide(seen(large), 1.0)) == []
    assert done(pressure.decide(seen(busy), 2.0)) == []
    assert "2048 MB" in pressure.notices[0]
    assert done(pressure.decide(seen(large), 3.0)) == [("replace", "StoreReader-0")]
    assert done(pressure.decide(seen(large), 4.0)) == [], "not in a loop"
    assert done(pressure.decide(seen(large), 3.0 + REPLACED_AGAIN_S)) == [("replace", "StoreReader-0")]
    pressure.decide(seen(use()), 5.0)
    assert pressure.notices == ()


def test_a_child_without_a_budget_may_be_of_any_size() -> None:
    pressure = MemoryPressure(0.08)
    for now in range(5):
        assert pressure.decide(seen(use("language", pss=6 * GB, budget=0)), float(now)) == []


def test_a_machine_that_is_short_gives_up_the_idle_model_first_then_caches_then_who_is_over() -> None:
    pressure = MemoryPressure(0.08)
    children = (use("RunHost"), use("StoreReader-0", pss=2 * GB, idle=False), use("StoreWriter", pss=3 * GB))
    short = 600 << 20
    first = done(pressure.decide(seen(*children, available=short), 0.0))
    assert first[:2] == [("note", "memory"), ("leave", "language")]
    second = done(pressure.decide(seen(*children, available=short), 1.0))
    assert second == [("leave", "reranking"), *(("relieve", child.name) for child in children)]
    third = done(pressure.decide(seen(*children, available=short), 2.0))
    assert third == [("replace", "StoreWriter")], "the largest that is over and has nothing to do, once"
    assert done(pressure.decide(seen(use(), available=700 << 20), 3.0)) == [], "not yet enough to call it over"
    assert done(pressure.decide(seen(use()), 4.0)) == [("note", "memory")]
    assert pressure.notices == ()


def test_a_disk_that_fills_is_told_of_at_each_step_once() -> None:
    disk = DiskPressure()
    reserve = 256 << 20
    steps = [1000, 600, 500, 490, 300, 255, 200, 260, 257, 290, 500, 520, 600, 1000]
    told = [(free, said[0]) for free in steps if (said := disk.decide(free << 20, reserve)) is not None]
    assert told == [(500, "disk_low"), (255, "disk_full"), (290, "disk_recovered"), (600, "disk_recovered")]
    assert disk.notices == ()
