"""What contract tests share: the tests' own PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.postgresql import Cluster, cluster
from tests.unit.store import store_house

__all__ = ["cluster"]


@pytest.fixture(scope="module")
def on_postgresql(cluster: Cluster) -> Iterator[Cluster]:
    """Every house of the module keeps its rows there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_house, "database_of", cluster.of_home)
        patch.setattr(store_house, "empty_database", lambda _: cluster.address(cluster.database()))
        yield cluster
