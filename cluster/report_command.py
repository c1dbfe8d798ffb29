"""`perenne report`: the archive for a bug report, as a file."""

import json
import os
import time
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from cluster.bug_report import report as make
from perenne.cli.troubles import tell
from perenne.errors import ConfigurationError, PerenneError
from perenne.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, and nothing else on standard output.")]


def report(
    to: Annotated[Path | None, typer.Option("--to", help="The file to write; it must not be there yet.")] = None,
    as_json: Json = False,
) -> None:
    """One archive for a bug report: versions, state, settings, last words of logs. Keys, texts, names and paths are left out."""
    try:
        settings = load_settings()
        path = to or Path(f"perenne-report-{time.strftime('%Y%m%d-%H%M%S')}.zip")
        data = make(settings)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            raise ConfigurationError(f"--to: expected a new file in a folder of yours, got {path}: {error.strerror}") from None
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if as_json:
        typer.echo(json.dumps({"path": str(path), "size_bytes": len(data), "files": names}))
        return
    typer.echo(
        f"{path}: {len(data):,} bytes, {len(names)} files. Keys, texts, names and paths were left out; look at it before you send it."
    )
