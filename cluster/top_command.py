"""`perenne top`: the instance as it works, again every other second."""

import contextlib
import json
import time
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.instance import HomeLock, read_instance
from cluster.top import Looker, Picture
from perenne.cli.console import Away
from perenne.cli.troubles import tell
from perenne.errors import PerenneError
from perenne.schedules import one_line
from perenne.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a look, and nothing else on standard output.")]
FIRST_S = 0.5  # between the first two looks: the second knows how busy each process is


def top(
    every_s: Annotated[float, typer.Option("--every", min=0.5, help="Seconds between two looks.")] = 2.0,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many looks.")] = None,
    as_json: Json = False,
) -> None:
    """What each part of Perenne uses, holds and waits for, now, until Ctrl-C."""
    try:
        settings = load_settings()
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        raise typer.Exit(tell(Away(f"http://{settings.host}:{settings.port}")))
    looker, console = Looker(settings, known), Console()
    looker.look()
    time.sleep(FIRST_S)
    shown = 0
    live = contextlib.nullcontext() if as_json else Live(console=console, screen=console.is_terminal, auto_refresh=False)
    with contextlib.suppress(KeyboardInterrupt), live as screen:
        while True:
            picture = looker.look()
            if isinstance(screen, Live):
                screen.update(drawn(picture, known.http), refresh=True)
            else:
                typer.echo(json.dumps(picture.facts()))
            shown += 1
            if shown == count:
                return
            time.sleep(every_s)


def drawn(picture: Picture, http: str) -> Group:
    """The picture for a terminal."""
    state = "ready" if picture.ready else "not ready: " + "; ".join(picture.reasons)
    rate = "-" if picture.requests_per_s is None else f"{picture.requests_per_s:.1f}"
    work = f"requests/s {rate}   answers {_number(picture.runs)}   jobs {_number(picture.jobs)}"
    table = Table(box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("state")
    for name in ("process", "cpu %", "memory MB", "queue", "restarts"):
        table.add_column(name, justify="right")
    for row in picture.rows:
        cpu = "-" if row.cpu_percent is None else f"{row.cpu_percent:.1f}"
        memory = f"{row.pss_bytes / 1e6:.0f}" if row.pss_bytes else "-"
        table.add_row(Text(row.name), row.state, str(row.pid or "-"), cpu, memory, _number(row.queue), str(row.restarts))
    lines = [Text(f"{http}  {state}"), Text(f"{work}   disk {picture.disk_free_bytes / 1e9:.1f} GB free")]
    lines.extend(Text(one_line(schedule, picture.at)) for schedule in picture.schedules if schedule.cron)
    return Group(*lines, Text(""), table)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
