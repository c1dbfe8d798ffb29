"""A real house, whose writer hands its log over: homes brought back as they were between two backups, and what is said where that can't be."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from actors.backups.moments import Target
from actors.backups.shipping import NAME, Shipper, forget
from actors.store.database import reading_engine
from cluster.restoring import restore
from perenne.errors import Conflict, InvalidRequest
from perenne.log_segments import FOLDER, waiting
from perenne.messages import commands as c
from perenne.schedules import read_schedule
from perenne.settings import load_settings
from perenne.testing import eventually
from tests.contract.test_backups import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "key").write_text("pk_the_first\n")
    house = House(home, f"sqlite:///{home / 'store' / 'perenne.db'}", tmp_path / "target", moments_days=2)
    await house.write(c.CreateUser, c.SYSTEM_USER, new_user_id="ana", name="Ana")
    await house.write(c.CreateProject, project_id="p", name="p")
    await house.document(0)
    yield house
    await house.close()


async def ship(house: House) -> Shipper:
    """Have all that was committed copied by the writer and fetched."""
    handover = house.writer._core._handover
    assert handover is not None
    assert await asyncio.to_thread(handover.copy, begin=True)
    shipper = Shipper(house.settings, lambda: house.keeper.repository(create=True))
    while await asyncio.to_thread(shipper.once):
        pass
    return shipper


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that is in a database, but for what a restore changes."""
    # Not by Python's own sqlite3: two libraries in one process undo each other's locks.
    with reading_engine(url).connect() as conn:
        names = [name for (name,) in conn.execute(text("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1"))]
        found = {name: sorted(map(tuple, conn.execute(text(f'SELECT * FROM "{name}"'))), key=repr) for name in names}
    return found | {"meta": [row for row in found["meta"] if row[0] != "origin"]}


async def test_each_document_is_there_at_its_moment_and_not_before(house: House, tmp_path: Path) -> None:
    await ship(house)
    made = await house.keeper.create("manual")
    heads: dict[int, int] = {}
    states: dict[int, Any] = {}
    for n in range(1, 5):
        await house.document(n)
        heads[n] = await house.writer.head()
        states[n] = await asyncio.to_thread(rows, house.settings.database_url)
        if n == 2:
            await house.close()
            house.open()
            await house.write(c.CreateProject, project_id="q", name="q")
    shipper = await ship(house)
    assert shipper.loss_s < 60.0
    for n, head in heads.items():
        other = load_settings({"PERENNE_HOME": str(tmp_path / f"other{n}")})
        done = await asyncio.to_thread(
            restore, other, str(house.target), None, None, force=False, tell=lambda _: None, to=Target(seq=head)
        )
        assert (done.seq, done.missing, done.backup.id) == (head, n, made.backup.id)
        found = await asyncio.to_thread(rows, other.database_url)
        wanted = states[n]
        if n != 2:
            assert found == wanted
        assert {row[0] for row in found["documents"]} == {f"d{k}" for k in range(n + 1)}
    await house.close()
    over = await asyncio.to_thread(
        restore, house.settings, str(house.target), None, None, force=True, tell=lambda _: None, to=Target(seq=heads[3])
    )
    assert over.missing == 0  # the home has them still
    house.open()
    assert len(await house.found("document3")) == 1
    assert await house.found("document4") == ()
    feed = await house.store.read("index_feed", space="space", after_seq=0)
    assert feed.origin != made.backup.origin
    await house.document(40)
    await ship(house)
    second = await house.keeper.create("manual")  # a chain of the new origin
    await house.document(41)
    await ship(house)
    other = load_settings({"PERENNE_HOME": str(tmp_path / "again")})
    now = Target(at_ms=int(time.time() * 1000) + 1_000)
    done = await asyncio.to_thread(restore, other, str(house.target), None, None, force=False, tell=lambda _: None, to=now)
    assert (done.backup.id, done.seq) == (second.backup.id, await house.writer.head())


async def test_a_later_backup_gives_the_files_that_came_after_the_one_that_is_carried_on(house: House, tmp_path: Path) -> None:
    await ship(house)
    await house.keeper.create("manual")
    await house.document(1)
    head = await house.writer.head()
    await house.document(2)
    await ship(house)
    await house.keeper.create("manual")
    other = load_settings({"PERENNE_HOME": str(tmp_path / "other")})
    done = await asyncio.to_thread(
        restore, other, str(house.target), None, None, force=False, tell=lambda _: None, to=Target(seq=head)
    )
    assert (done.seq, done.missing) == (head, 0)


async def test_the_writer_copies_by_itself_and_what_is_said_of_it_goes_when_it_is_switched_off(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = house.settings.path("store", FOLDER)
    checkpointer = house.writer._core._checkpointer
    assert checkpointer is not None
    checkpointer._wanted.set()  # what its clock does every 10 s
    await eventually(lambda: bool(waiting(folder)))
    await ship(house)
    said = read_schedule(house.settings.home, NAME)
    assert said is not None
    assert said.last is not None
    assert said.last.ok
    forget(house.settings)
    assert read_schedule(house.settings.home, NAME) is None
    assert not folder.exists()


async def test_what_can_not_be_brought_back_is_said_in_words(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ship(house)
    made = await house.keeper.create("manual")
    await house.document(1)
    await ship(house)
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("PERENNE_BACKUP_TARGET", str(house.target))
    from cluster.backup_commands import app

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    listed = await asyncio.to_thread(run, "list", "--json")
    (line,) = [json.loads(each) for each in listed.stdout.splitlines()]
    assert (line["id"], line["moments_until_seq"]) == (made.backup.id, await house.writer.head())
    assert "and any moment after it until" in (await asyncio.to_thread(run, "list")).stdout
    for words, wanted in (
        (("--at", "yesterday"), "expected a time such as"),
        (("--at", "2001-01-01T00:00:00Z"), "before the first backup"),
        (("--at", "2001-01-01T00:00:00Z", "--at-change", "3"), "give one of them"),
        (("--at-change", "1000000"), "can't be brought back; there are"),
    ):
        refused = await asyncio.to_thread(run, "restore", *words)
        assert refused.exit_code != 0
        assert wanted in refused.output
    assert not (tmp_path / "other" / "store" / "perenne.db").exists()
    postgresql = load_settings(
        {"PERENNE_HOME": str(tmp_path / "pg"), "PERENNE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    )
    with pytest.raises(InvalidRequest, match="archive_command"):
        restore(postgresql, str(house.target), None, None, force=False, tell=lambda _: None, to=Target(seq=1))
    done = await asyncio.to_thread(run, "restore", "--at", "2100-01-01T00:00:00Z", "--json")
    assert json.loads(done.stdout)["seq"] == await house.writer.head()
    with pytest.raises(Conflict):
        await asyncio.to_thread(
            restore,
            house.settings,
            str(house.target),
            None,
            None,
            force=False,
            tell=lambda _: None,
            to=Target(seq=made.backup.seq),
        )
