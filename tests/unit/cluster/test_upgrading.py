"""``perenne upgrade``: what it says, and one version back, with what was written since or as it was before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.backups.repository import Repository
from actors.store.database import sqlite_path, writing_engine
from actors.store.guarding import Guard, Tell
from actors.store.migrate import migrate, migrate_back, wanted_revision
from cluster.before_migration import keep
from cluster.instance import HomeLock
from cluster.upgrade_command import upgrade
from cluster.upgrading import restore_before, roll_back, standing, would_lose
from perenne.cli.troubles import Exit
from perenne.errors import Conflict, NotFound, StorageFailed
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.settings import Settings
from tests.unit.store.store_house import StoreHouse
from tests.unit.store.test_store_guarding import at_hand, house, settings, without_origin
from tests.unit.store.test_store_migrations import REVISIONS, Rows, assert_same, rows_of

__all__ = ["house", "settings"]  # fixtures
OLD, NEW = REVISIONS[-2], REVISIONS[-1]


def quiet(_: str) -> None: ...


def came_up(house: StoreHouse, settings: Settings) -> Rows:
    """The house's database brought from the version before to this one by a start; what was in it then."""
    migrate_back(writing_engine(house.url), sqlite_path(house.url))
    before = rows_of(house.url)
    running = StoreHouse(house.home, url=house.url, guard=Guard(settings, at_hand))
    running.close()
    return before


def written_since(house: StoreHouse) -> Rows:
    running = StoreHouse(house.home, url=house.url)
    running._numbers = iter(range(1_000, 2_000))  # type: ignore[assignment]
    running.do(c.CreateProject, project_id="later", name="later")
    running.do(a.CreateChannel, channel_id="n", name="n", kind="apprise", url="json://example.org/s", address="json://…")
    running.close()
    return rows_of(house.url)


def told(*words: str) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, what is on standard output, and the rest."""
    import typer

    app = typer.Typer()
    app.command()(upgrade)
    ended = CliRunner().invoke(app, [*words])
    return ended.exit_code, [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")], ended.output


@pytest.fixture
def typed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    monkeypatch.setenv("PERENNE_HOME", settings.home)
    monkeypatch.setenv("PERENNE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PERENNE_BACKUP_TARGET", settings.backups_target)
    return told


def test_one_version_back_keeps_what_was_written_since(house: StoreHouse, settings: Settings) -> None:
    came_up(house, settings)
    since = written_since(house)
    done = roll_back(settings, quiet, at_hand)
    assert (done.went.held, done.went.before, done.went.copy) == (NEW, OLD, None)
    assert done.went.lost == {"channels": 1}
    assert_same(rows_of(house.url), since)
    assert {"id": "later"}.items() <= rows_of(house.url)["projects"][-1].items()
    with Repository.open(settings.backups_target) as repository:
        assert repository.verify(done.backup_id).ok
    migrate(writing_engine(house.url), sqlite_path(house.url), guard=Guard(settings, at_hand))
    assert_same(rows_of(house.url), {name: rows for name, rows in since.items() if name != "channels"})


def test_the_backup_from_before_comes_back_as_it_was(house: StoreHouse, settings: Settings) -> None:
    before = came_up(house, settings)
    since = written_since(house)
    loss = would_lose(settings)
    assert loss.backup.revision == OLD
    assert loss.changes > 0
    assert loss.rows["projects"] == (len(before["projects"]), len(before["projects"]) + 1)
    done = restore_before(settings, loss, quiet, at_hand)
    assert without_origin(rows_of(house.url)) == without_origin(before)
    if done.kept is not None:
        assert rows_of(f"sqlite:///{done.kept}") == since
    else:  # PostgreSQL: as a backup
        with Repository.open(settings.backups_target) as repository:
            newest = repository.list()[0]
        assert (newest.cut.revision, newest.cut.counts["channels"]) == (NEW, 1)
    migrate(
        writing_engine(house.url), sqlite_path(house.url), guard=Guard(settings, at_hand)
    )  # nothing of this version is in its way
    assert_same(rows_of(house.url), before)


def test_nothing_is_rolled_back_under_a_running_instance(house: StoreHouse, settings: Settings) -> None:
    came_up(house, settings)
    lock = HomeLock(settings.home)
    lock.take()
    with pytest.raises(Conflict, match="already running"):
        roll_back(settings, quiet, at_hand)
    with pytest.raises(Conflict, match="already running"):
        restore_before(settings, would_lose(settings), quiet, at_hand)
    assert standing(settings).running
    lock.release()
    assert standing(settings).database.held == NEW


def test_without_a_backup_from_before_there_is_none_to_go_back_to(house: StoreHouse, settings: Settings) -> None:
    with pytest.raises(NotFound, match=f"made before version {NEW} of this very database"):
        would_lose(settings)
    keep(settings, OLD, "another")
    with pytest.raises(NotFound):
        would_lose(settings)


def test_the_backup_made_before_a_rollback_is_no_way_further_back(house: StoreHouse, settings: Settings) -> None:
    done = roll_back(settings, quiet, at_hand)  # its backup is of the later version
    assert done.backup_id
    assert standing(settings).backup is None
    with pytest.raises(NotFound, match=f"made before version {OLD}"):
        would_lose(settings)


def test_postgresql_is_restored_over_only_with_a_backup_of_what_goes(house: StoreHouse, settings: Settings) -> None:
    if house.path.exists():
        pytest.skip("SQLite's old database is kept as a file")
    came_up(house, settings)
    before, loss = rows_of(house.url), would_lose(settings)

    def full(settings: Settings, held: str, wanted: str, tell: Tell) -> str:
        raise StorageFailed("no room")

    with pytest.raises(StorageFailed, match=r"nothing was changed, for no backup could be made .*: no room"):
        restore_before(settings, loss, quiet, full)
    assert rows_of(house.url) == before


def test_where_the_target_is_away_a_copy_is_the_way_to_come_again(house: StoreHouse, settings: Settings) -> None:
    def away(settings: Settings, held: str, wanted: str, tell: Tell) -> str:
        raise StorageFailed("the disk is not there")

    since = rows_of(house.url)
    done = roll_back(settings, quiet, away)
    assert done.backup_id == ""
    assert done.went.copy is not None
    assert done.went.copy.exists()
    assert_same(rows_of(house.url), since)


def test_it_says_how_it_stands(house: StoreHouse, settings: Settings, typed: Callable[..., Any]) -> None:
    migrate_back(writing_engine(house.url), sqlite_path(house.url))
    code, (facts,), _ = typed("--json")
    assert (code, facts["held"], facts["wanted"], facts["backup"]) == (0, OLD, NEW, None)
    assert facts["next"].startswith(f"the database is brought to version {NEW}, after a backup to {settings.backups_target}")
    running = StoreHouse(house.home, url=house.url, guard=Guard(settings, at_hand))
    running.close()
    code, (facts,), _ = typed("--json")
    assert (code, facts["held"], facts["before"]) == (0, NEW, OLD)
    assert facts["next"] == "nothing: the database is of this program's version"
    assert facts["backup"]["migrated_to"] == NEW
    assert facts["last"]["ok"]
    assert [facts["backup"]["id"] in way for way in facts["ways_back"]] == [False, True]
    code, _, words = typed()
    assert code == 0
    assert f"the database here: version {NEW}" in words
    assert "way back: " in words
    Path(settings.backups_target).rename(f"{settings.backups_target}-away")
    Path(settings.backups_target).write_text("no folder")
    code, (facts,), _ = typed("--json")
    assert (code, facts["backup"]) == (0, None)
    assert facts["trouble"]


def test_a_database_of_a_newer_program_is_said_to_be_one(house: StoreHouse, typed: Callable[..., Any]) -> None:
    with writing_engine(house.url).connect() as conn, conn.begin():
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    code, (facts,), _ = typed("--json")
    assert (code, facts["known"]) == (Exit.PARTLY, False)
    assert "does not know" in facts["next"]
    assert typed("--rollback")[0] == Exit.TYPED


def test_a_home_without_a_database_has_nothing_to_roll_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path / "none"))
    code, (facts,), _ = told("--json")
    assert (code, facts["held"], facts["wanted"]) == (0, None, wanted_revision())
    assert "there is no database yet" in facts["next"]
    assert not (tmp_path / "none").exists()
    assert told("--rollback")[0] == Exit.REFUSED


def test_the_command_goes_back_and_restores_only_when_it_is_meant(
    house: StoreHouse, settings: Settings, typed: Callable[..., Any]
) -> None:
    before = came_up(house, settings)
    since = written_since(house)
    assert typed("--to-backup")[0] == Exit.REFUSED
    assert typed("--rollback", "--yes")[0] == Exit.REFUSED
    code, (asked,), words = typed("--rollback", "--to-backup", "--json")
    assert (code, asked["done"]) == (Exit.TYPED, False)
    assert asked["changes"] > 0
    assert "nothing was changed" in words
    assert rows_of(house.url) == since
    code, _, words = typed("--rollback", "--to-backup")
    assert code == Exit.TYPED
    assert f"projects: {len(since['projects'])} now, {len(before['projects'])} then" in words
    code, (done,), _ = typed("--rollback", "--to-backup", "--yes", "--json")
    assert (code, done["done"]) == (0, True)
    assert without_origin(rows_of(house.url)) == without_origin(before)


def test_the_command_says_what_an_older_version_has_no_place_for(house: StoreHouse, typed: Callable[..., Any]) -> None:
    written_since(house)
    code, _, words = typed("--rollback")
    assert code == 0
    assert f"from version {NEW} to {OLD}; what was written since is kept" in words
    assert "but for 1 row of channels" in words
