"""The commands of supervision: restart, crashes."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from cluster import doorbell
from cluster.crashes import Crashes, ended
from cluster.instance import HomeLock, read_instance
from perenne.cli.console import Away
from perenne.cli.troubles import tell
from perenne.errors import NotFound, PerenneError
from perenne.settings import Settings, load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, and nothing else on standard output.")]
RESTART_WITHIN_S = 30.0


def _settings() -> Settings:
    try:
        return load_settings()
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None


def restart(
    name: Annotated[str, typer.Argument(help="A child as `perenne status` names it, or a group, such as database.")],
    as_json: Json = False,
) -> None:
    """Start one child, or a group of them, anew; one that is held is let go."""
    settings = _settings()
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        raise typer.Exit(tell(Away(f"http://{settings.host}:{settings.port}")))
    try:
        reply = doorbell.ask(known.ray_dir, doorbell.RESTART + name, RESTART_WITHIN_S)
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    if "error" in reply:
        code = tell(NotFound("child or group", name))
        typer.echo(f"there are: {', '.join(reply['names'])}", err=True)
        raise typer.Exit(code)
    typer.echo(json.dumps({"restarted": name, "done": reply["done"]}) if as_json else reply["done"])


def crashes(
    as_json: Json = False,
    last: Annotated[int, typer.Option("--last", min=1, help="How many, the newest.")] = 20,
) -> None:
    """Processes that ended otherwise than they should: what, when, how, and their last words."""
    found = Crashes(_settings().path("crashes")).read(last)
    for crash in found:
        if as_json:
            typer.echo(json.dumps(asdict(crash)))
            continue
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(crash.at))
        typer.echo(f"{moment}  {crash.name} (process {crash.pid}) {ended(crash)}")
        for line in crash.log:
            typer.echo(f"    {line}")
    if not found and not as_json:
        typer.echo("no process has ended otherwise than it should")
