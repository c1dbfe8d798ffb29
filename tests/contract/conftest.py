"""What contract tests share: the tests' own PostgreSQL, an edge, and the stock client of it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.contract.edge_house import House, house_in, secret
from tests.postgresql import Cluster, cluster
from tests.unit.store import store_house

__all__ = ["cluster"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_of(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Where a home keeps its rows: the test runs on both."""
    if request.param == "sqlite":
        return store_house.on_sqlite
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.of_home


@pytest.fixture(scope="module")
def on_postgresql(cluster: Cluster) -> Iterator[Cluster]:
    """Every house of the module keeps its rows there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_house, "database_of", cluster.of_home)
        patch.setattr(store_house, "empty_database", lambda _: cluster.address(cluster.database()))
        yield cluster


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as house:
        yield house


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{house.address}/v1", api_key=secret("owner"), max_retries=0) as client:
        yield client
