"""One version back, killed (SIGKILL) at some of its calls to the disk and of its statements in turn, amid a write too: the database is of
the one version or of the other and whole, backups that are listed are whole, and the same again goes on."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 6  # spread over a run, and two at its end; 60 take minutes

# Forks a child for each call; Python and what it imports are loaded once.
DRIVER = textwrap.dedent(
    """
    import itertools, json, os, shutil, signal, sys
    from pathlib import Path
    from sqlalchemy import Engine, event

    from actors.backups.repository import Repository
    from actors.store.database import connect_sqlite, writing_engine
    from actors.store.guarding import Guard
    from actors.store.migrate import migrate, migrate_back
    from cluster.before_migration import keep
    from cluster.unfinished import finish
    from cluster.upgrading import restore_before, roll_back, would_lose
    from perenne.messages import commands as c
    from perenne.settings import load_settings
    from tests.unit.store.store_house import StoreHouse
    from tests.unit.store.test_store_migrations import REVISIONS, assert_same, rows_of

    folder, way, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    OLD, NEW = REVISIONS[-2], REVISIONS[-1]
    home, target = folder / "home", folder / "target"
    settings = load_settings({"PERENNE_HOME": str(home), "PERENNE_BACKUP_TARGET": str(target)})
    url = settings.database_url
    at_hand = lambda settings, held, wanted, tell: keep(settings, held, wanted).id
    quiet = lambda _: None

    def rows():
        found = rows_of(url)
        found["meta"] = [row for row in found["meta"] if row["name"] not in ("origin", "epoch")]
        return found

    def revision():
        with writing_engine(url).connect() as conn:
            return conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()

    def sound():
        connection = connect_sqlite(settings.path("store", "perenne.db"), create=False, pragmas=())
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()

    # A home that came from the version before to this one, and was written to since.
    home.mkdir()
    (home / "key").write_text("pk_one")
    StoreHouse(home).people().close()
    migrate_back(writing_engine(url), settings.path("store", "perenne.db"))
    for copy in settings.path("store").glob("*before*"):
        copy.unlink()
    earlier = rows()
    house = StoreHouse(home, guard=Guard(settings, at_hand))
    house._numbers = itertools.count(1000)
    house.do(c.CreateProject, project_id="later", name="later")
    house.close()
    later = rows()
    (home / "key").write_text("pk_two")
    shutil.copytree(home, folder / "home-before")
    shutil.copytree(target, folder / "target-before")

    def afresh():
        for place in (home, target):
            shutil.rmtree(place)
            shutil.copytree(f"{place}-before", place)

    def go():
        if way == "back":
            roll_back(settings, quiet, at_hand)
        else:
            restore_before(settings, would_lose(settings), quiet, at_hand)

    def die_at(call, calls):
        # of `calls`, whose next() no two threads share
        def now():
            return next(calls) == call
        def wrap(module, name):
            real = getattr(module, name)
            def counted(*args, **kwargs):
                if now():
                    if name == "write":
                        real(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            setattr(module, name, counted)
        for name in ("open", "write", "fsync", "link"):
            wrap(os, name)
        for name in ("replace", "unlink", "mkdir"):
            wrap(Path, name)
        def statement(*_):
            if now():
                os.kill(os.getpid(), signal.SIGKILL)
        event.listen(Engine, "before_cursor_execute", statement)
        event.listen(Engine, "commit", statement)

    def in_child(call):
        # Whether it was killed; a whole run writes down how many calls it made.
        child = os.fork()
        if child == 0:
            try:
                calls = itertools.count(1)
                die_at(call, calls)
                go()
                made = next(calls) - 1
                (folder / "calls").write_text(str(made))
                os._exit(0)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or status == 0, status
        return os.WIFSIGNALED(status)

    def old_rows_hold(found):
        if way == "back":
            assert_same(found, later)  # that version has no place for the rest
        else:
            assert found == earlier
        assert found.keys() == earlier.keys()

    assert not in_child(0)
    calls = int((folder / "calls").read_text())
    killed, at = 0, {OLD: 0, NEW: 0}
    # Evenly, and at the last ones: there the one version becomes the other.
    for call in sorted({max(1, calls * n // kills) for n in range(kills)} | {calls - n for n in range(1, kills // 2)}):
        afresh()
        if not in_child(call):
            continue
        killed += 1
        finish(settings)
        sound()
        at[revision()] += 1
        if revision() == NEW:
            assert rows() == later, call
            assert (home / "key").read_text() == "pk_two"
            go()
            sound()
        assert revision() == OLD, call
        old_rows_hold(rows())
        if way != "back":
            assert (home / "key").read_text() == "pk_one"
        assert not settings.path("restoring").exists()
        with Repository.open(str(target)) as repository:
            assert not repository.damaged()
            listed = repository.list()
            assert all(repository.verify(backup.id).ok for backup in listed), call
    migrate(writing_engine(url), settings.path("store", "perenne.db"), guard=Guard(settings, at_hand))  # and on again
    assert revision() == NEW
    print(json.dumps({"calls": calls, "killed": killed, "old": at[OLD], "new": at[NEW]}))
    """
)


@pytest.mark.parametrize("way", ["back", "to-backup"])
def test_one_version_back_killed_anywhere_leaves_one_version_or_the_other(way: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), way, str(KILLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    print(told)
    assert told["killed"] >= KILLS, told
    assert told["new"] > 0, told
    assert told["old"] > 0, told
