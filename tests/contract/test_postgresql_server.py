"""What only a server does: it goes away and comes back, ends sessions, refuses people, and must be one that keeps its word."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from actors.store.database import reading_engine, writing_engine
from actors.store.migrate import migrate
from actors.store.postgresql import Trouble, found_at
from actors.store.reader import ReaderCore
from actors.store.work import held_epoch
from actors.store.writer import WriterCore
from cluster import doctor
from cluster.environment import head_environment, igniter_environment
from cluster.ports import Ports
from perenne.errors import ConfigurationError, Unavailable
from perenne.messages import commands as c
from perenne.settings import load_settings
from tests.postgresql import OWNER, PASSWORD, Cluster
from tests.unit.store.store_house import StoreHouse

pytestmark = pytest.mark.usefixtures("on_postgresql")

WRITERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'perenne writer'"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def conversation(id: str) -> c.CreateConversation:
    return c.CreateConversation(command_id=f"cmd-{id}", user_id="ana", conversation_id=id, title=id)


def kept(house: StoreHouse) -> list[str]:
    return [row[0] for row in house.rows("SELECT id FROM conversations ORDER BY id")]


def test_a_session_that_the_server_ended_is_followed_by_another(house: StoreHouse, cluster: Cluster) -> None:
    cluster.sql(WRITERS)
    assert house.send(conversation("c1"), conversation("c2"))[1].error is None
    assert kept(house) == ["c1", "c2"]
    with pytest.raises(Unavailable, match="writes to it already"):
        WriterCore(house.url).open()


def test_a_session_that_ends_amid_a_transaction_takes_nothing_that_was_answered(
    house: StoreHouse, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ended = house.writer._one, threading.Event()

    def end_once(work: Any, item: Any) -> Any:
        answer = real(work, item)
        if not ended.is_set():
            ended.set()
            cluster.sql(WRITERS)
        return answer

    monkeypatch.setattr(house.writer, "_one", end_once)
    assert [outcome.error for outcome in house.send(conversation("c1"), conversation("c2"))] == [None, None]
    assert kept(house) == ["c1", "c2"]
    seqs = [row[0] for row in house.rows("SELECT seq FROM changes ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("state", ["40001", "40P01", "53100"])  # serialisation failure, deadlock, disk full
def test_what_takes_the_transaction_is_done_again_one_by_one(
    house: StoreHouse, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    real, failed = house.writer._one, threading.Event()

    def fail_once(work: Any, item: Any) -> Any:
        if item.command.command_id == "cmd-c2" and not failed.is_set():
            failed.set()
            raising = f"DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END $$"
            work.conn.execute(text(raising))
        return real(work, item)

    monkeypatch.setattr(house.writer, "_one", fail_once)
    assert [outcome.error for outcome in house.send(conversation("c1"), conversation("c2"))] == [None, None]
    assert failed.is_set()
    assert kept(house) == ["c1", "c2"]


def test_while_the_server_is_away_nobody_is_answered_and_after_it_everybody(house: StoreHouse, cluster: Cluster) -> None:
    assert house.send(conversation("c1"))[0].error is None
    assert kept(house) == ["c1"]
    cluster.stop(hard=True)
    try:
        with pytest.raises(Unavailable):
            house.send(conversation("c2"), conversation("c3"))
        with pytest.raises(Unavailable):
            kept(house)
        with pytest.raises(Unavailable, match="refused"):
            ReaderCore(house.url).open()
    finally:
        cluster.start()
    outcomes = house.send(conversation("c1"), conversation("c2"), conversation("c3"))
    assert [outcome.error for outcome in outcomes] == [None, None, None]
    assert kept(house) == ["c1", "c2", "c3"]


def test_an_older_writer_that_lost_its_session_to_another_is_fenced(house: StoreHouse, cluster: Cluster) -> None:
    cluster.sql(WRITERS)
    second = WriterCore(house.url)
    second.open()
    with pytest.raises(Unavailable, match="took over"):
        house.send(conversation("c1"))
    assert house.writer.fenced
    assert second.submit((conversation("c2"),)).result(20)[0].error is None
    assert kept(house) == ["c2"]
    second.close()


def test_no_writer_takes_over_amid_anothers_transaction(house: StoreHouse) -> None:
    # Read without a lock, the old epoch was still there while the new one was being written, and both writers committed.
    engine = writing_engine(house.url)
    with engine.connect() as old, engine.connect() as new:
        with old.begin():
            held_epoch(old)
            new.exec_driver_sql("SET lock_timeout = 200")
            with pytest.raises(OperationalError, match="lock timeout"):
                new.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'epoch'")
            new.rollback()


def test_a_commit_waits_for_the_disk_whatever_the_owner_set_for_all(house: StoreHouse, cluster: Cluster) -> None:
    cluster.sql(f"ALTER ROLE {OWNER} SET synchronous_commit = off")
    try:
        with writing_engine(house.url).connect() as conn:
            assert conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    finally:
        cluster.sql(f"ALTER ROLE {OWNER} RESET synchronous_commit")


def _until_refused(url: str) -> str:
    """What keeps it from being ours, once the server has read its settings anew."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            found_at(url)
        except Trouble as trouble:
            return "fsync = off" if "fsync = off" in trouble.sentence else trouble.sentence
    return "nothing"


def test_a_server_that_flushes_nothing_is_refused(house: StoreHouse, cluster: Cluster) -> None:
    cluster.sql("ALTER SYSTEM SET fsync = off")
    cluster.sql("SELECT pg_reload_conf()")
    try:
        assert _until_refused(house.url) == "fsync = off"
    finally:
        cluster.sql("ALTER SYSTEM RESET fsync")
        cluster.sql("SELECT pg_reload_conf()")


def test_a_reader_sees_one_moment_and_cannot_write(house: StoreHouse) -> None:
    def twice(conn: Any) -> tuple[int, int]:
        count = text("SELECT count(*) FROM conversations")
        before = conn.execute(count).scalar_one()
        house.send(conversation("c1"))
        return before, conn.execute(count).scalar_one()

    assert house.ask(twice) == (0, 0)
    assert kept(house) == ["c1"]
    with pytest.raises(Unavailable, match="read-only"):
        house.ask(lambda conn: conn.exec_driver_sql("DELETE FROM meta"))
    with reading_engine(house.url).connect() as conn:
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"


def test_every_text_sorts_by_its_bytes(house: StoreHouse) -> None:
    # A machine's own order changes with its C library, and an index made under the old one answers wrong.
    others = house.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name <> 'alembic_version' AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C'"
    )
    assert others == []


def trouble(url: str) -> Trouble:
    with pytest.raises(Trouble) as caught:
        found_at(url)
    assert PASSWORD not in str(caught.value)
    assert "secret" not in caught.value.sentence + caught.value.remedy
    return caught.value


def test_what_is_wrong_with_a_database_is_said_in_a_sentence_with_what_to_type(cluster: Cluster) -> None:
    well = cluster.address(cluster.database())
    assert found_at(well).startswith("PostgreSQL 1")
    assert "password authentication failed" in trouble(cluster.address("postgres", "a wrong secret")).sentence
    assert "createdb" in trouble(cluster.address("absent")).remedy
    assert "systemctl start" in trouble(f"postgresql://{OWNER}:secret@127.0.0.1:1/x").remedy
    assert "expected postgresql:// or sqlite:///" in trouble("mysql://ana:secret@host/x").sentence
    assert "no URL" in trouble("ana:secret@host").sentence
    foreign = cluster.database()
    cluster.sql(f"ALTER DATABASE {foreign} OWNER TO root")
    assert "may not make tables" in trouble(cluster.address(foreign)).sentence
    latin = cluster.database(more="ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    assert "ENCODING 'UTF8'" in trouble(cluster.address(latin)).sentence


def test_the_doctor_asks_the_server_and_stops_where_it_says_no(cluster: Cluster, tmp_path: Path) -> None:
    def found(url: str) -> list[tuple[str, str]]:
        settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_DATABASE_URL": url})
        return [(each.about, each.level) for each in doctor.database(settings, False)]

    assert found(cluster.of_home(tmp_path)) == [("database", "fine")]
    assert found(cluster.address("absent")) == [("database", "stops")]
    assert found(f"sqlite:///{tmp_path}/x.db") == []


def test_an_older_server_is_refused(house: StoreHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.store.postgresql.OLDEST", 99)
    assert "99 or newer is needed" in trouble(house.url).sentence
    with pytest.raises((ConfigurationError, Unavailable), match="99 or newer"):
        WriterCore(house.url).open()


def test_the_writer_says_why_it_cannot_open_and_never_the_password(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    for url in (cluster.address("postgres", "a wrong secret"), cluster.address("absent")):
        with pytest.raises(Unavailable) as caught:
            WriterCore(url).open()
        assert "secret" not in str(caught.value) + repr(caught.value.__cause__) + caplog.text


def test_no_password_is_shown_by_settings_or_their_errors(tmp_path: Path) -> None:
    env = {"PERENNE_HOME": str(tmp_path), "PERENNE_DATABASE_URL": "postgresql://ana:secret@host/x"}
    settings = load_settings(env)
    assert settings.database_url == env["PERENNE_DATABASE_URL"]
    assert "secret" not in repr(settings)
    ports = Ports(first=20_000)
    assert "secret" not in str(head_environment(settings, ports, env)), "every actor and replica has the head's environment"
    assert igniter_environment(settings) == {"PERENNE_DATABASE_URL": settings.database_url}
    (tmp_path / "config.yaml").write_text("store: {address: 'postgresql://ana:secret@host/x'}\n")
    with pytest.raises(ConfigurationError, match="ana:") as caught:
        load_settings(env)
    assert "secret" not in f"{caught.value}{caught.value.__cause__}"


def test_a_failed_migration_leaves_the_database_as_it_was(cluster: Cluster, tmp_path: Path) -> None:
    from tests.unit.store.test_store_place import later

    url = cluster.of_home(tmp_path)
    engine = writing_engine(url)
    with pytest.raises(Exception, match="as it was"):
        migrate(engine, None, later(tmp_path, "op.execute('SELECT * FROM nowhere')"))
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT to_regclass('novelty')").scalar() is None
