"""``perenne backup`` and ``perenne schedules``. What makes a backup asks the running instance; what looks at them or brings one back needs
none."""

import os
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from perenne.cli.console import Json, attempt, default_address, emit
from perenne.cli.troubles import Exit
from perenne.errors import InvalidRequest, NotFound, Unavailable
from perenne.messages.backups import Backup, BackupVerified, Schedule
from perenne.schedules import age_words, next_time, one_line, read_schedules
from perenne.settings import Settings, load_settings

if TYPE_CHECKING:
    from actors.backups import moments

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Backups: made, looked at, brought back, tried out.")
Target = Annotated[
    str | None,
    typer.Option("--target", help="A folder or URL that holds backups; without it that of this home's settings."),
]
BackupId = Annotated[str | None, typer.Argument(help="As `perenne backup list` shows it; the newest without one.")]
_LOOK_S = 0.5
_AWAY_S = 60.0  # how long an instance that restarts is waited for
_ASK_S = 30.0


def _note(words: str) -> None:
    typer.echo(words, err=True)


def _place(settings: Settings, target: str | None) -> tuple[str, str | None]:
    """Where backups are looked for, and with which passphrase: that of the settings fits their own target alone, one of the environment any."""
    if target is None or target == settings.backups_target:
        return settings.backups_target, settings.backups.passphrase
    return target, os.environ.get("PERENNE_BACKUP_PASSPHRASE") or None


@app.command()
def create(as_json: Json = False) -> None:
    """Make a backup now, read it back, and say how that went. Needs the running instance."""
    _follow("backup", {}, as_json)


@app.command()
def drill(backup_id: BackupId = None, as_json: Json = False) -> None:
    """Restore a backup into a scratch folder and compare it with what was recorded when it was made. Needs the running instance."""
    _follow("drill", {} if backup_id is None else {"backup_id": backup_id}, as_json)


def _follow(what: str, body: dict[str, Any], as_json: bool) -> None:
    """Have it begun, wait for its end, say it. The exit code is 1 when it did not go well."""

    def work() -> Schedule:
        began = time.time()
        _ask("POST", {"backup": "/api/backups", "drill": "/api/backups/drill"}[what], body)
        until, said = time.monotonic() + _AWAY_S, ""
        while True:
            try:
                found = next(each for each in _ask("GET", "/api/schedules") if each["name"] == what)
                until = time.monotonic() + _AWAY_S
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_S)
                continue
            schedule = _schedule(found)
            if schedule.running_since is None and schedule.last is not None and schedule.last.ended_at >= began - 1.0:
                return schedule
            if not as_json and schedule.progress not in ("", said):
                said = schedule.progress
                _note(said)
            time.sleep(_LOOK_S)

    schedule = attempt(work)
    last = schedule.last
    assert last is not None
    if as_json:
        emit({"what": what, **asdict(last)})
    else:
        typer.echo(f"{last.backup_id}  {last.detail}".strip())
        for fault in last.faults:
            typer.echo(f"  {fault}")
    raise typer.Exit(Exit.DONE if last.ok else Exit.PARTLY)


def _schedule(found: dict[str, Any]) -> Schedule:
    from pydantic import TypeAdapter

    return TypeAdapter(Schedule).validate_python(found)


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to this home's instance, with its key."""
    import httpx

    from perenne.client import key_of
    from perenne.http_errors import error_of
    from perenne.settings import home_of

    address = default_address()
    key = os.environ.get("PERENNE_KEY") or key_of(home_of(os.environ))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.request(method, f"{address}{path}", json=body, headers=headers, timeout=_ASK_S)
    except httpx.TransportError as error:
        raise Unavailable(address, 1.0, str(error) or type(error).__name__) from error
    if not answer.is_success:
        raise error_of(answer)
    return answer.json()


@app.command("list")
def list_(target: Target = None, as_json: Json = False) -> None:
    """The backups that there are, the newest first."""
    from actors.backups.contents import shown
    from actors.backups.moments import Run, run_of
    from actors.backups.repository import Repository

    def work() -> tuple[str, list[tuple[Backup, Run]], list[Any]]:
        settings = load_settings()
        where, passphrase = _place(settings, target)
        try:
            with Repository.open(where, passphrase) as repository:
                segments = repository.log.segments()
                backups = [(shown(each), run_of(each, segments)) for each in repository.list()]
                return repository.target, backups, list(repository.damaged())
        except NotFound:
            if target is not None:
                raise
            return where, [], []

    where, backups, damaged = attempt(work)
    for backup, run in backups:
        if as_json:
            until = {"moments_until": run.reach_at, "moments_until_seq": run.reach} if run.segments else {}
            emit({**asdict(backup), **until})
            continue
        gaps = f"  {backup.missing:,} files were missing" if backup.missing else ""
        typer.echo(
            f"{backup.id}  {age_words(backup.created_at):>12}  {backup.documents:>9,} documents  {backup.size_bytes / 1e6:>11,.1f} MB"
            f"  {backup.new_bytes / 1e6:>9,.1f} MB new{gaps}"
        )
        if run.segments:
            until = datetime.fromtimestamp(run.reach_at).astimezone()
            typer.echo(f"  and any moment after it until {until.isoformat(timespec='seconds')} (change {run.reach:,})")
    for each in damaged:
        if as_json:
            emit({"id": each.id, "damaged": each.reason})
        else:
            typer.echo(f"{each.id}  DAMAGED: {each.reason}")
    if not as_json and not backups:
        _note(f"there is no backup in {where} yet; make one: perenne backup create")


@app.command()
def verify(backup_id: BackupId = None, target: Target = None, as_json: Json = False) -> None:
    """Read every piece of a backup and compare it with its hash. The exit code is 1 when one is damaged."""
    from actors.backups.keeper import chosen, verified_of
    from actors.backups.repository import Repository

    def work() -> BackupVerified:
        where, passphrase = _place(load_settings(), target)
        with Repository.open(where, passphrase) as repository:
            return verified_of(repository.verify(chosen(repository, backup_id)))

    verified = attempt(work)
    if as_json:
        emit(asdict(verified))
    else:
        typer.echo(
            f"{verified.id}: {verified.pieces:,} pieces, {verified.size_bytes / 1e6:,.1f} MB, {'whole' if verified.ok else 'DAMAGED'}"
        )
        for fault in verified.faults:
            typer.echo(f"  {fault}")
    raise typer.Exit(Exit.DONE if verified.ok else Exit.PARTLY)


@app.command()
def restore(
    backup_id: BackupId = None,
    target: Target = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="As it was at this time, such as 2026-11-26T10:00:00Z: the last commit at or before it."),
    ] = None,
    at_change: Annotated[
        int | None, typer.Option("--at-change", help="As it was after this change of the feed.", min=0)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Over a home that holds documents; its old database is kept.")] = False,
    as_json: Json = False,
) -> None:
    """Bring this home back as it was when a backup was made, or at any moment after one. Nothing may run on it; the home is PERENNE_HOME."""
    from cluster.restoring import Restored
    from cluster.restoring import restore as bring_back

    def work() -> Restored:
        settings = load_settings()
        os.umask(0o077)
        Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
        where, passphrase = _place(settings, target)
        tell = (lambda _: None) if as_json else _note
        to = _moment(at, at_change)
        return bring_back(settings, where, passphrase, backup_id, force=force, tell=tell, to=to)

    done = attempt(work)
    if as_json:
        emit(asdict(done))
        return
    typer.echo(
        f"{done.home} is as it was {datetime.fromtimestamp(done.backup.created_at):%Y-%m-%d %H:%M:%S}: {done.backup.documents:,} documents, "
        f"{done.checked.rows:,} rows, {done.checked.texts} searches and {done.checked.vectors} vector queries as then"
    )
    if done.at is not None:
        gaps = f"; {done.missing:,} files that came after the backup are not there, their text is" if done.missing else ""
        reached = datetime.fromtimestamp(done.at).astimezone().isoformat(timespec="seconds")
        typer.echo(f"and from there it was carried on to {reached} (change {done.seq:,}){gaps}")
    if done.kept:
        typer.echo(f"its old database is kept as {done.kept}: remove it once you miss nothing")
    typer.echo("start it: perenne up")


def _moment(at: str | None, change: int | None) -> "moments.Target | None":
    from actors.backups.moments import Target

    if at is not None and change is not None:
        raise InvalidRequest("--at and --at-change are two ways to say one moment: give one of them", "at")
    if change is not None:
        return Target(seq=change)
    if at is None:
        return None
    try:
        return Target(at_ms=int(datetime.fromisoformat(at).timestamp() * 1000))
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"--at: expected a time such as 2026-11-26T10:00:00Z, got {at!r}", "at") from error


def schedules(as_json: Json = False) -> None:
    """What is done by the clock: when next, and how it ended last."""
    settings = attempt(load_settings)
    planned = {"backup": settings.backups.schedule, "drill": settings.backups.drill}
    held = {each.name: each for each in read_schedules(settings.home)}
    for name, cron in planned.items():
        held.setdefault(name, Schedule(name=name, cron=cron, next_at=next_time(cron, time.time())))
    for schedule in held.values():
        if as_json:
            emit(asdict(schedule))
        else:
            typer.echo(_line(schedule))


def _line(schedule: Schedule) -> str:
    never = "all the time" if schedule.name == "log" else "never by itself"
    due = never if schedule.next_at is None else f"next {datetime.fromtimestamp(schedule.next_at):%Y-%m-%d %H:%M}"
    good = f" ({schedule.last.detail})" if schedule.last is not None and schedule.last.ok else ""
    return f"{one_line(schedule, time.time())}{good}; {due}"
