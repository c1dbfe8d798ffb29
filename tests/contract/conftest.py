"""What contract tests share: the tests' own PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
