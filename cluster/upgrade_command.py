"""``perenne upgrade``: which version this is and the database is of, and the way back to the one before."""

import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer

from perenne.cli.console import Json, attempt, emit
from perenne.cli.troubles import Exit, program, tell
from perenne.errors import InvalidRequest
from perenne.schedules import age_words
from perenne.settings import Settings, load_settings

T = TypeVar("T")

KEPT = "what was written since is kept"


def _note(words: str) -> None:
    typer.echo(words, err=True)


def upgrade(
    rollback: Annotated[bool, typer.Option("--rollback", help="Bring the database back by one version; " + KEPT + ".")] = False,
    to_backup: Annotated[
        bool,
        typer.Option(
            "--to-backup",
            help="With --rollback: restore the backup that was made before this version. What came later is lost.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --to-backup: do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Which version this is, which the database is of, and what a start or a way back would do. A new version of Perenne brings the
    database along at its first start, after a backup; --rollback is the way back, for which nothing may run (perenne down)."""
    if (to_backup and not rollback) or (yes and not to_backup):
        raise typer.Exit(tell(InvalidRequest("--to-backup goes with --rollback, and --yes with --to-backup")))
    settings = attempt(load_settings)
    os.umask(0o077)
    if not rollback:
        _stand(settings, as_json)
    elif to_backup:
        _restore(settings, yes, as_json)
    else:
        _roll_back(settings, as_json)


def _stand(settings: Settings, as_json: bool) -> None:
    from cluster.upgrading import Standing, standing

    def next_step(found: Standing) -> str:
        database, up = found.database, f"{program()} up"
        if database.held is None:
            return f"there is no database yet: {up} makes it"
        if not database.known:
            return "this program does not know the database's version: run the Perenne that wrote it, or a newer one"
        if database.held == database.wanted:
            return "nothing: the database is of this program's version"
        when = "the running instance does it now" if found.running else f"{up} does it"
        return f"the database is brought to version {database.wanted}, after a backup to {found.target}: {when}"

    def ways_back(found: Standing) -> list[str]:
        if not found.database.before:
            return []
        base = f"{program()} upgrade --rollback"
        ways = [f"{base} brings the database back to version {found.database.before}; {KEPT}"]
        if found.backup is not None:
            ways.append(f"{base} --to-backup restores backup {found.backup.id}; what was written since is lost")
        return ways

    found = attempt(lambda: standing(settings))
    database, backup = found.database, found.backup
    step, ways = next_step(found), ways_back(found)
    if as_json:
        held = {"held": database.held, "wanted": database.wanted, "before": database.before, "known": database.known}
        facts: dict[str, Any] = {"version": found.version, **held, "running": found.running, "target": found.target}
        facts |= {"backup": None if backup is None else asdict(backup), "trouble": found.trouble}
        facts |= {"last": None if found.last is None else asdict(found.last), "next": step, "ways_back": ways}
        emit(facts)
    else:
        typer.echo(f"Perenne {found.version}; its database is of version {database.wanted}")
        typer.echo(f"the database here: {'none yet' if database.held is None else f'version {database.held}'}")
        typer.echo(f"at a start: {step}")
        if backup is not None:
            typer.echo(f"backup from before version {database.held}: {backup.id}, {age_words(backup.created_at, time.time())}")
        elif database.held is not None and not found.trouble:
            typer.echo(f"backup from before version {database.held}: none in {found.target}")
        if found.trouble:
            typer.echo(f"the backups can't be looked at: {found.trouble}")
        if found.last is not None and not found.last.ok:
            typer.echo(f"note: {found.last.detail}")
        for way in ways:
            typer.echo(f"way back: {way}")
    raise typer.Exit(Exit.DONE if database.known else Exit.PARTLY)


def _roll_back(settings: Settings, as_json: bool) -> None:
    from cluster.upgrading import roll_back

    done = attempt(lambda: roll_back(settings, (lambda _: None) if as_json else _note))
    went = done.went
    if as_json:
        emit({"done": True, **asdict(went), "backup_id": done.backup_id})
        return
    typer.echo(f"the database is brought back from version {went.held} to {went.before}; {KEPT}")
    for table, count in went.lost.items():
        typer.echo(f"  but for {_count(count, 'row')} of {table}, for which version {went.before} has no place")
    if done.backup_id:
        typer.echo(f"a backup of it as it was is {done.backup_id}")
    else:
        typer.echo(
            f"no backup could be made first; a copy is {went.copy}" if went.copy else "neither a backup nor a copy was made"
        )
    _now_run(went.before)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _now_run(version: str) -> None:
    typer.echo(
        f"now put the Perenne in place whose database is of version {version}, and start that: this one would bring it on again"
    )


def _restore(settings: Settings, yes: bool, as_json: bool) -> None:
    from cluster.upgrading import alone, restore_before, would_lose

    def look() -> Any:
        with alone(settings):
            return would_lose(settings)

    loss = attempt(look)
    made = f"{datetime.fromtimestamp(loss.backup.created_at):%Y-%m-%d %H:%M:%S}"
    if not as_json:
        _note(f"backup {loss.backup.id} is of {made}, version {loss.backup.revision} of the database")
        _note(f"what was written since is lost: {_count(loss.changes, 'change')}")
        for table, (then, now) in loss.rows.items():
            if then != now:
                _note(f"  {table}: {now:,} now, {then:,} then")
    if not (yes or (not as_json and _asked())):
        if as_json:
            emit({"done": False, "backup_id": loss.backup.id, "changes": loss.changes, "rows": loss.rows})
        _note("nothing was changed: say --yes when that is meant")
        raise typer.Exit(Exit.TYPED)
    done = attempt(lambda: restore_before(settings, loss, (lambda _: None) if as_json else _note))
    if as_json:
        emit({"done": True, **asdict(done), "changes": loss.changes, "rows": loss.rows})
        return
    typer.echo(f"{done.home} is as it was {made}: {done.backup.documents:,} documents")
    if done.kept:
        typer.echo(f"its old database is kept as {done.kept}: remove it once you miss nothing")
    _now_run(loss.backup.revision)


def _asked() -> bool:
    """Whether somebody sits at the terminal and means it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm("Restore it?", default=False, err=True)
