"""One instance for the disasters, rounds, and the record of them. Each disaster leaves the instance healed."""

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

import perenne
from perenne.api import Perenne
from tests.chaos.core_process import Cores, needs_strace
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

# A few dozen passages are merged, and get a graph.
SMALL_INDEX = "index: {kind: sq8, graph_rows: 64, tail_rows: 32}\n"
# Ten rounds of one disaster kill a child more often than one that can't stay up may die.
MANY_DEATHS = "supervision: {starts_max: 1000}\n"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_number" in metafunc.fixturenames:
        rounds = int(os.environ.get("PERENNE_CHAOS_ROUNDS", "1"))
        metafunc.parametrize("round_number", range(1, rounds + 1))


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    held = Recorder()
    yield held
    held.write(failed=request.session.testsfailed)


@pytest.fixture(scope="module")
def cores() -> Iterator[Cores]:
    needs_strace()
    held = Cores()
    yield held
    held.close()


@pytest.fixture(scope="session")
def house() -> Iterator[RunningInstance]:
    running = RunningInstance()
    (running.home / "config.yaml").write_text(SMALL_INDEX + MANY_DEATHS)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def instance(house: RunningInstance) -> Iterator[RunningInstance]:
    """The house, ready before the disaster, and healed after it."""
    house.await_ready()
    yield house
    house.await_ready()


@pytest.fixture
async def api(instance: RunningInstance) -> AsyncIterator[Perenne]:
    async with perenne.connect(instance.address, key=instance.key) as client:
        yield client


@pytest.fixture
def kill(instance: RunningInstance) -> Callable[[str], float]:
    """Kill the child of that name with SIGKILL; the moment it happened."""
    return instance.kill_child
