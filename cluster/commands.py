"""The commands of the runtime: up, down, status, dashboard, doctor. The `perenne` command finds them by entry points."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cluster import doctor as examination
from cluster.crashes import Crashes
from cluster.doorbell import ask_status
from cluster.environment import CHECKOUT, client_environment, token_path
from cluster.exposure import CONFIRMED, asker, consents, needs_consent
from cluster.first_boot import key_path
from cluster.first_run import begin_from, offered
from cluster.instance import HomeLock, read_instance
from cluster.logs_command import logs
from cluster.metrics_command import metrics
from cluster.ports import is_free
from cluster.processes import end, of_instance
from cluster.report_command import report
from cluster.supervising import crashes, restart
from cluster.top_command import top
from perenne.cli.console import Away
from perenne.cli.troubles import Exit, tell
from perenne.errors import InvalidRequest, PerenneError
from perenne.logs import open_log
from perenne.messages.health import TreeStatus
from perenne.schedules import one_line, read_schedules
from perenne.settings import Settings, load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, and nothing else on standard output.")]

EXIT_TROUBLE = 1
EXIT_MACHINE = 3  # something about this machine: a taken port, too little memory, a network file system
EXIT_NOT_RUNNING = 4
_DOWN_TIMEOUT_S = 60.0
_DETACH_TIMEOUT_S = 180.0
_DASHBOARD_WITHIN_S = 60.0
CRASHES_SHOWN_S = 86_400.0


def _settings() -> Settings:
    try:
        return load_settings()
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None


def _say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def _already_running(settings: Settings) -> int | None:
    holder = HomeLock(settings.home).holder()
    if holder is not None:
        known = read_instance(settings.home)
        where = f" at {known.http}" if known else ""
        typer.echo(f"an instance is already running on {settings.home}{where} (process {holder})")
    return holder


def _end_what_was_left(settings: Settings) -> None:
    """Of a run whose root died."""
    left = of_instance(settings.ray_dir)
    if left:
        typer.echo(f"an earlier run did not end by itself: its {len(left)} processes are ended first", err=True)
        end(left.values())


def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return once it answers; `perenne down` ends it.")] = False,
    host: Annotated[str | None, typer.Option("--host", help="Listen on this address; as PERENNE_HOST does.")] = None,
    behind_tls_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-tls-proxy", help="A proxy that speaks TLS is before it: other addresses than loopback are fine."
        ),
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="First bring a new home back from a backup: BACKUP, or the newest.")
    ] = False,
    backup: Annotated[str | None, typer.Argument(help="With --restore: as `perenne backup list` shows it.")] = None,
) -> None:
    """Start Perenne on this PC and keep it running until Ctrl-C."""
    if backup is not None and not restore:
        raise typer.Exit(tell(InvalidRequest(f"expected nothing after up but with --restore, got {backup!r}")))
    if host is not None:
        os.environ["PERENNE_HOST"] = host
    if behind_tls_proxy:
        os.environ["PERENNE_BEHIND_TLS_PROXY"] = "1"
    settings = _settings()
    os.umask(0o077)
    if _already_running(settings):
        raise typer.Exit(EXIT_TROUBLE)
    if needs_consent(settings):
        if not consents(settings, asker()):
            raise typer.Exit(Exit.TYPED)
        os.environ[CONFIRMED] = settings.host
    _end_what_was_left(settings)  # it holds the port, and memory
    troubles = [finding for finding in examination.examine(settings) if finding.level == "stops"]
    for finding in troubles:
        typer.echo(f"error: {finding.sentence}" + (f" {finding.remedy}" if finding.remedy else ""), err=True)
    if troubles:
        raise typer.Exit(EXIT_MACHINE)
    if restore or not os.environ.get("PERENNE_DETACHED"):
        settings = _begun_from(settings, restore, backup)
    if detach:
        raise typer.Exit(_detached(settings))
    from cluster.root import Root

    open_log("root", settings.path("logs"), settings.logs)
    try:
        code = Root(settings, _say).run()
    except PerenneError as error:
        typer.echo(f"error: {error}", err=True)
        code = EXIT_TROUBLE
    raise typer.Exit(code)


def _begun_from(settings: Settings, restore: bool, backup_id: str | None) -> Settings:
    """The settings, anew once a backup brought others. A new home is asked whether it begins from one; what is asked for and fails ends it."""
    chosen = backup_id
    if not restore:
        chosen = offered(settings, asker(), lambda words: typer.echo(words, err=True))
        if chosen is None:
            return settings
    try:
        begin_from(settings, chosen, lambda words: typer.echo(words, err=True))
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    return _settings()


def _detached(settings: Settings) -> int:
    """Start a root of its own session; pass its words on until it has said its address."""
    settings.path("logs").mkdir(parents=True, exist_ok=True)
    words = settings.path("logs", "up.log")
    with open(words, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "cluster.commands", "up"],
            env={**os.environ, "PERENNE_DETACHED": "1", "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until, said = time.monotonic() + _DETACH_TIMEOUT_S, 0
    while time.monotonic() < until:
        lines = words.read_text(errors="replace").splitlines(keepends=True)
        for line in lines[said:]:
            if line.endswith("\n"):
                typer.echo(line.rstrip())
                said += 1
                until = time.monotonic() + _DETACH_TIMEOUT_S  # a migration says how far it is
                if line.startswith("address: "):
                    time.sleep(0.1)
                    for more in words.read_text().splitlines()[said:]:
                        typer.echo(_with_key(more, settings))
                    return 0
        if child.poll() is not None:
            return child.returncode or EXIT_TROUBLE
        time.sleep(0.1)
    typer.echo(f"it has not come up within {_DETACH_TIMEOUT_S:g} s; its words are in {words}", err=True)
    return EXIT_TROUBLE


def _with_key(line: str, settings: Settings) -> str:
    """A detached root's word as its owner reads it: the log says only where the key is."""
    path = key_path(settings)
    return f"key: {path.read_text().strip()}" if line == f"key: in {path}" else line


def down() -> None:
    """End the instance of this home, and every process of it. Nothing acknowledged is lost."""
    settings = _settings()
    holder = HomeLock(settings.home).holder()
    if holder is not None:
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.kill(holder, signal.SIGTERM)
        until = time.monotonic() + _DOWN_TIMEOUT_S
        while HomeLock(settings.home).holder() == holder and time.monotonic() < until:
            time.sleep(0.1)
    left = of_instance(settings.ray_dir)  # a root that was killed left these
    stuck = end(left.values()) if left else []
    if stuck or HomeLock(settings.home).holder() is not None:
        typer.echo(f"error: still there: {', '.join(str(p.pid) for p in stuck) or holder}", err=True)
        raise typer.Exit(EXIT_TROUBLE)
    typer.echo("stopped" if holder is not None or left else f"nothing is running on {settings.home}")


def status(as_json: Json = False) -> None:
    """What runs, and what keeps it from answering."""
    settings = _settings()
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        _report({"running": False, "home": settings.home}, f"nothing is running on {settings.home}", as_json)
        raise typer.Exit(EXIT_NOT_RUNNING)
    try:
        tree = ask_status(known.ray_dir, 5.0)
    except PerenneError as error:
        facts: dict[str, Any] = {
            "running": True,
            "ready": False,
            "reasons": [f"the Supervisor: {error}"],
            "address": known.http,
        }
        _report(facts, f"address: {known.http}\nnot ready: the Supervisor: {error}", as_json)
        raise typer.Exit(EXIT_TROUBLE) from None
    recent = [asdict(crash) for crash in Crashes(settings.path("crashes")).read() if crash.at > time.time() - CRASHES_SHOWN_S]
    schedules = read_schedules(settings.home)
    facts = {"running": True, "address": known.http, **asdict(tree), "crashes_of_a_day": len(recent)}
    facts["schedules"] = [asdict(schedule) for schedule in schedules]
    words = [
        _table(known.http, tree, len(recent)),
        "",
        *(one_line(schedule, time.time()) for schedule in schedules if schedule.cron),
    ]
    _report(facts, "\n".join(words).rstrip(), as_json)
    raise typer.Exit(0 if tree.ready else EXIT_TROUBLE)


def _report(facts: dict[str, Any], words: str, as_json: bool) -> None:
    typer.echo(json.dumps(facts) if as_json else words)


def _table(http: str, tree: TreeStatus, crashes: int) -> str:
    lines = [f"address: {http}", "ready" if tree.ready else "not ready: " + "; ".join(tree.reasons)]
    lines.extend(f"note: {notice}" for notice in tree.notices)
    if crashes:
        lines.append(f"note: {crashes} crashes within a day; `perenne crashes` shows them")
    lines.append("")
    width = max(len(child.name) for child in tree.children)
    for child in tree.children:
        pid = str(child.pid or "-")
        lines.append(
            f"{child.name:<{width}}  {child.state:<10}  pid {pid:>7}  restarts {child.restarts:>2}  {child.detail}".rstrip()
        )
    return "\n".join(lines)


def dashboard(as_json: Json = False) -> None:
    """Where Ray's dashboard is, and the token that it asks for. It begins after all else: a page that is not there yet is waited for."""
    settings = _settings()
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        raise typer.Exit(tell(Away(f"http://{settings.host}:{settings.port}")))
    until = time.monotonic() + _DASHBOARD_WITHIN_S
    while is_free(known.ports["dashboard"]):
        if time.monotonic() > until:
            typer.echo(f"the dashboard has not begun within {_DASHBOARD_WITHIN_S:g} s", err=True)
            break
        time.sleep(0.2)
    if as_json:
        facts = {"url": known.dashboard, "token_path": known.token_path, "environment": client_environment(settings)}
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"dashboard: {known.dashboard}")
    typer.echo(f"token: {token_path(settings).read_text().strip()}")
    typer.echo("The page asks for the token once and keeps it in a cookie. It is reachable from this PC only; from another:")
    typer.echo(f"  ssh -L {known.ports['dashboard']}:127.0.0.1:{known.ports['dashboard']} THIS-PC")


def doctor(as_json: Json = False) -> None:
    """Whether this PC can run Perenne, what is missing and what to type."""
    settings = _settings()
    findings = examination.examine(settings, running=HomeLock(settings.home).holder() is not None)
    for finding in findings:
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
        else:
            sign = {"fine": "ok", "warns": "warning", "stops": "ERROR"}[finding.level]
            typer.echo(f"{sign:<8} {finding.sentence}" + (f"\n         {finding.remedy}" if finding.remedy else ""))
    if not as_json and key_path(settings).exists():
        typer.echo(f"{'':<8} the first key is in {key_path(settings)}")
    raise typer.Exit(EXIT_MACHINE if any(f.level == "stops" for f in findings) else 0)


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _command in (up, down, status, dashboard, doctor, restart, crashes, logs, metrics, report, top):
    app.command()(_command)


if __name__ == "__main__":
    app()
