"""`perenne add`: files, folders and JSON lines."""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from perenne.cli.completing import project_names
from perenne.cli.console import Json, connected, emit, notes, run, say, terminal
from perenne.cli.password import AskPassword, PasswordStdin, password_of
from perenne.cli.reasons import reason_words
from perenne.cli.troubles import trouble_of
from perenne.errors import InvalidRequest, PerenneError
from perenne.messages.records import Job, ReasonCode

if TYPE_CHECKING:
    from perenne.api import Perenne

_NO_TROUBLE_OF_A_FILE = ("unauthorized", "forbidden", "not_running", "not_perenne")
_AT_ONCE = 4  # files in upload or waited for at a time
_LEFT = ("__pycache__", "node_modules", "lost+found", "Thumbs.db", "desktop.ini")  # what no folder is added for


@dataclass(frozen=True)
class Added:
    """What became of one file. `state`: queued, indexed, refused or failed."""

    path: str
    document_id: str | None
    state: str
    reason: str | None
    chunks: int
    job_id: str | None = None
    code: ReasonCode | None = None
    words: str = ""  # the reason as it is shown; not told to programs, who have the code


def add(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or folders to walk.")] = None,
    project: Annotated[
        str, typer.Option("--project", "-p", help="Name or id; made when there is none.", autocompletion=project_names)
    ] = "default",
    wait: Annotated[bool, typer.Option("--wait", help="Until each file is indexed, refused or failed.")] = False,
    jsonl: Annotated[Path | None, typer.Option("--jsonl", help="Objects with id, title, text, one a line.")] = None,
    password: AskPassword = False,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Add documents. Exit code 1 when a file could not be sent or its indexing failed; a refused file says why and is an outcome."""
    if bool(paths) == bool(jsonl):
        raise typer.BadParameter("give files or folders, or --jsonl FILE, and not both")
    if jsonl is not None:
        jsonl.open("rb").close()  # what can't be read is said before anything is made
    secret = password_of(password, password_stdin)
    try:
        good = run(
            _add_lines(jsonl, project, wait, as_json) if jsonl else _add_files(paths or [], project, wait, secret, as_json)
        )
    except KeyboardInterrupt:
        notes.print("interrupted; what came of a large file is kept for a day: the same command goes on where it stopped")
        raise
    raise typer.Exit(0 if good else 1)


def _is_left(name: str) -> bool:
    return name.startswith((".", "~$")) or name in _LEFT


def _files(paths: list[Path]) -> Iterator[Path]:
    """Every file named, and under every folder named every file but the hidden and what programs keep there, in a steady order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, found in os.walk(path):
            folders[:] = sorted(name for name in folders if not _is_left(name))
            yield from (Path(folder, name) for name in sorted(found) if not _is_left(name))


def _bars(as_json: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=terminal(), transient=True, disable=as_json or not terminal().is_terminal)


class _Adder:
    """Adds files one by one, each with a bar of its own."""

    def __init__(self, client: "Perenne", project: str, wait: bool, password: str | None, bars: Progress) -> None:
        self._client, self._project, self._wait, self._password, self._bars = client, project, wait, password, bars

    async def one(self, path: Path) -> Added:
        bar = self._bars.add_task(path.name[:40], total=None, stage="sending")
        try:
            return await self._one(path, bar)
        except (PerenneError, OSError) as error:
            if getattr(error, "code", "") in _NO_TROUBLE_OF_A_FILE:
                raise
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            told = trouble_of(error, sys.argv[1:])
            words = f"{told.sentence}; type: {told.next}"
            return Added(path=str(path), document_id=None, state="failed", reason=reason, chunks=0, words=words)
        finally:
            self._bars.remove_task(bar)

    async def _one(self, path: Path, bar: TaskID) -> Added:
        def sent(done: int, total: int) -> None:
            self._bars.update(bar, completed=done, total=total)

        added = await self._client.add(path, self._project, password=self._password, on_progress=sent)
        document = added.document
        if self._wait and document.state in ("queued", "indexing"):
            if added.job is not None:
                await self._client.wait_job(added.job.id, lambda job: self._show(bar, job))
            while (document := await self._client.document(document.id)).state in ("queued", "indexing"):
                await asyncio.sleep(0.2)
        return Added(
            path=str(path),
            document_id=document.id,
            state=document.state,
            reason=document.reason,
            chunks=document.chunks,
            job_id=added.job.id if added.job else None,
            code=document.code,
            words=reason_words(document),
        )

    def _show(self, bar: TaskID, job: Job) -> None:
        self._bars.update(bar, completed=job.done, total=job.total, stage=job.reason or job.state)


async def _add_files(paths: list[Path], project: str, wait: bool, password: str | None, as_json: bool) -> bool:
    good = True
    async with connected() as client:
        found = await client.ensure_project(project)
        with _bars(as_json) as bars:
            adder = _Adder(client, found.id, wait, password, bars)
            slots = asyncio.Semaphore(_AT_ONCE)

            async def bounded(path: Path) -> Added:
                async with slots:
                    return await adder.one(path)

            files = list(_files(paths))
            for finished in asyncio.as_completed([bounded(path) for path in files]):
                added = await finished
                good = good and added.state != "failed"
                _tell(added, as_json)
        if not files:
            raise InvalidRequest(f"there are no files in {', '.join(map(str, paths))}")
    return good


def _tell(added: Added, as_json: bool) -> None:
    if as_json:
        emit({name: value for name, value in asdict(added).items() if name != "words"})
        return
    detail = added.words or (f"{added.chunks} passages" if added.state == "indexed" else "")
    say(f"{added.state:8} {added.path}" + (f"  ({detail})" if detail else ""))


async def _add_lines(path: Path, project: str, wait: bool, as_json: bool) -> bool:
    async with connected() as client:
        found = await client.ensure_project(project)
        with _bars(as_json) as bars:
            bar = bars.add_task(path.name[:40], total=None, stage="sending")
            job = await client.add_jsonl(
                path, found.id, on_progress=lambda done, all_: bars.update(bar, completed=done, total=all_)
            )
            if wait:
                job = await client.wait_job(
                    job.id, lambda now: bars.update(bar, completed=now.done, total=now.total, stage=now.reason or now.state)
                )
    outcome = {
        "path": str(path),
        "job_id": job.id,
        "state": "indexed" if job.state == "done" else job.state,
        "reason": job.reason,
        "code": job.code,
        "chunks": job.result.get("chunks", 0),
        **{name: value for name, value in job.result.items() if name != "chunks"},
    }
    if as_json:
        emit(outcome)
    else:
        say(f"{outcome['state']:8} {path}  {reason_words(job)}" + (f"  {job.result}" if job.result else ""))
    return job.state not in ("failed", "refused", "cancelled")
