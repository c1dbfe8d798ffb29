"""The main job over PostgreSQL: added, found, answered with its source; and all of it there after a restart and a dead server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from perenne.client import connect_sync
from perenne.errors import PerenneError
from tests.live.running import RunningInstance
from tests.live.test_clients import TEXT
from tests.postgresql import PASSWORD, Cluster, cluster

__all__ = ["cluster"]


@pytest.fixture
def running(cluster: Cluster) -> Iterator[RunningInstance]:
    made = RunningInstance(PERENNE_DATABASE_URL=cluster.address(cluster.database()))
    try:
        yield made
    finally:
        made.close()


@pytest.mark.timeout(900)
def test_the_main_job_over_postgresql(running: RunningInstance, cluster: Cluster, tmp_path: Path) -> None:
    guide = tmp_path / "cabo-verano.md"
    guide.write_text(TEXT, encoding="utf-8")
    running.start()
    with connect_sync(running.address, home=str(running.home)) as client:
        added = client.add(guide, "default")
        assert added.job is not None
        assert client.wait_job(added.job.id, timeout_s=120).state == "done"
        assert client.search("Who built the lighthouse?", "default", k=3).hits[0].document_id == added.document.id
        answer = client.ask("Who built the lighthouse of Cabo Verano?", "default")
        assert answer.citations[0].document_id == added.document.id
        talks = client.conversations()
    assert not list(running.home.glob("store/*.db")), "nothing is kept in SQLite beside it"
    assert running.stop() == 0

    running.start()
    cluster.stop(hard=True)
    with connect_sync(running.address, home=str(running.home)) as client:
        with pytest.raises(PerenneError):
            client.documents("default")
        cluster.start()
        assert running.until(lambda: _documents(client) == [added.document.id], 60)
        assert client.conversations() == talks
        assert client.search("Who built the lighthouse?", "default", k=3).hits[0].document_id == added.document.id
    words = "".join(path.read_text(errors="replace") for path in running.home.rglob("*.log")) + "".join(running.words)
    assert PASSWORD not in words
    assert PASSWORD.replace(" ", "%20") not in words


def _documents(client) -> list[str]:
    try:
        return [each.id for each in client.documents("default").items]
    except PerenneError:
        return []
