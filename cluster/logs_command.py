"""`perenne logs`: what the processes of this home logged, merged by time, and what they log from now on."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from cluster.log_lines import LEVELS, LogLine, log_files, merged, parsed, runs_of
from perenne.cli.troubles import Exit, tell
from perenne.errors import ConfigurationError, PerenneError
from perenne.logs import ENDING
from perenne.settings import load_settings

LOOK_S = 0.25  # pause between two looks for new lines


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are asked for. A line of a run counts for the request that began it."""

    requests: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    actors: tuple[str, ...] = ()
    level: str = "debug"

    def __call__(self, line: LogLine) -> bool:
        named = self.requests or self.runs
        if named and line.request_id not in self.requests and line.run_id not in self.runs:
            return False
        if self.actors and not any(fnmatchcase(line.actor, one) for one in self.actors):
            return False
        return line.level not in LEVELS or LEVELS.index(line.level) >= LEVELS.index(self.level)

    def learn(self, line: LogLine) -> "Wanted":
        """The same, with the run that this line says a request of ours began."""
        if line.run_id and line.run_id not in self.runs and line.request_id in self.requests:
            return Wanted(self.requests, self.runs | {line.run_id}, self.actors, self.level)
        return self


class Follower:
    """What is written from now on, across the turning over of files. It holds them open: the place of one that is gone may be another's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, BinaryIO] = {}
        self._open()
        for file in self._files.values():
            file.seek(0, os.SEEK_END)

    def new(self) -> list[LogLine]:
        """Since the last look, by time."""
        raw = [line for file in self._files.values() for line in _whole_lines(file)]
        raw += [line for file in self._open() for line in _whole_lines(file)]
        found = (parsed(line.decode(errors="replace")) for line in raw)
        return sorted((line for line in found if line is not None), key=lambda line: line.time)

    def _open(self) -> list[BinaryIO]:
        """Files that were not held before, in the place of those that were turned over."""
        opened: list[BinaryIO] = []
        for path in log_files(self._folder):
            if path.name.endswith(ENDING):
                with contextlib.suppress(OSError):
                    held = self._files.get(path)
                    if held is not None and os.path.samestat(os.fstat(held.fileno()), path.stat()):
                        continue
                    self._files[path] = path.open("rb")
                    opened.append(self._files[path])
                    if held is not None:
                        held.close()
        return opened


def _whole_lines(file: BinaryIO) -> list[bytes]:
    """From where it was read to; a line whose end is not there yet is left for the next look."""
    place = file.tell()
    text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    file.seek(place + len(whole))
    return whole.splitlines()


def plain(line: LogLine) -> str:
    """For a person: the PC's own time, and what follows a request or a run at the end."""
    moment = line.time
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(line.time).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    ids = " ".join(one for one in (line.request_id, line.run_id) if one)
    words = f"{moment} {line.level:<7} {line.actor}: {line.message}" + (f"  [{ids}]" if ids else "")
    return words if line.exception is None else f"{words}\n    " + line.exception.replace("\n", "\n    ")


def _show(lines: Iterable[LogLine], as_json: bool) -> None:
    for line in lines:
        typer.echo(line.raw if as_json else plain(line))


def chosen(lines: Iterable[LogLine], wanted: Wanted) -> Iterator[LogLine]:
    """Those that are asked for; what is learnt on the way counts from there on."""
    for line in lines:
        wanted = wanted.learn(line)
        if wanted(line):
            yield line


def _followed(follower: Follower) -> Iterator[LogLine]:
    while True:
        time.sleep(LOOK_S)
        yield from follower.new()


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then show what is logged from now on, until Ctrl-C.")] = False,
    request: Annotated[
        str | None, typer.Option("--request", help="Of this X-Request-ID, and of the runs that it began.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Of this run.")] = None,
    actor: Annotated[list[str] | None, typer.Option("--actor", help="Of this actor; may be repeated, and hold a *.")] = None,
    level: Annotated[str, typer.Option("--level", help=f"From this level on: {', '.join(LEVELS[:4])}.")] = "debug",
    last: Annotated[int, typer.Option("--last", min=0, help="So many lines at most, the newest; 0: all.")] = 1_000,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, and nothing else on standard output.")
    ] = False,
) -> None:
    """What the instance of this home logged, of all its processes, by time. It need not run."""
    try:
        if level not in LEVELS:
            raise ConfigurationError(f"--level: expected one of {', '.join(LEVELS[:4])}, got {level!r}")
        folder = load_settings().path("logs")
        if not follow and not log_files(folder):
            typer.echo(f"there is nothing in {folder} yet: no file *{ENDING}", err=True)
            return
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    runs = frozenset({run} if run else ()) | (runs_of(folder, request) if request else frozenset())
    wanted = Wanted(frozenset({request} if request else ()), runs, tuple(actor or ()), level)
    follower = Follower(folder)  # before what is there is read: a line may be shown twice rather than never
    past = chosen(merged(folder, wanted.requests | wanted.runs), wanted)
    _show(deque(past, maxlen=last) if last else past, as_json)
    if follow:
        try:
            _show(chosen(_followed(follower), wanted), as_json)
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
