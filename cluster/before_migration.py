"""The backup that is made before the database is brought to another version: `python -m cluster.before_migration`, asked by the writer
at boot on its standard input (`actors.store.guarding`), and by `perenne upgrade --rollback`. It is verified like any other.

Nobody writes meanwhile: the one that asks holds the writer's lock. So two backups of the same epoch are of the same rows, and a try
that was cut off after its backup was listed makes no second one."""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from actors.backups import contents
from actors.backups.before import KIND, Moment, of_moment
from actors.backups.repository import Report, Repository
from actors.store.cutting import cut
from actors.store.guarding import BEAT_S, SCRATCH
from actors.store.restored import moment_of
from perenne import __version__
from perenne.errors import BackupDamaged, PerenneError
from perenne.messages.backups import Backup
from perenne.settings import Settings


class Progress:
    """What is being done and how much of it, for whoever waits."""

    def __init__(self, scratch: Path) -> None:
        self.doing, self._moved, self._scratch = "", 0, scratch

    def begin(self, doing: str) -> None:
        self.doing, self._moved = doing, 0

    def moved(self, count: int) -> None:
        self._moved += count

    @property
    def size_bytes(self) -> int:
        copied = sum(path.stat().st_size for path in self._scratch.glob("*")) if self._scratch.is_dir() else 0
        return self._moved or copied


def keep(settings: Settings, held: str, wanted: str, progress: Progress | None = None) -> Backup:
    """A backup of the database at version `held`, which is about to be brought to `wanted`. If this returns it is listed and every piece of
    it was read back. Raises what the target, the disk or the database refused; then nothing new is listed, or what is damaged."""
    scratch = settings.path(*SCRATCH)
    told = progress or Progress(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    origin, epoch = moment_of(settings.database_url)
    moment = Moment(origin=origin, epoch=epoch, held=held, wanted=wanted)
    with Repository.open(settings.backups_target, settings.backups.passphrase, create=True) as repository:
        told.begin("verifying an earlier backup of it")
        earlier = of_moment(repository.list(), moment)
        if earlier is not None and repository.verify(earlier.id, moved=told.moved).ok:
            return contents.shown(earlier)
        scratch.mkdir(parents=True, mode=0o700)
        try:
            told.begin("copying the database")
            made = cut(settings.database_url, scratch)
            for last in (False, True):
                told.begin("writing")
                manifest = contents.store(
                    repository, made, scratch, contents.blob_place(settings.path(contents.BLOBS)), Path(settings.home),
                    kind=KIND, version=__version__, moved=told.moved, notes=moment.notes,
                )  # fmt: skip
                told.begin("verifying")
                report = repository.verify(manifest.id, moved=told.moved)
                if report.ok:
                    return contents.shown(manifest.summary)
                if not last:
                    repository.mend(report)  # what it names twice is stored anew
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        raise _damaged(report)


def _damaged(report: Report) -> BackupDamaged:
    first = report.findings[0]
    return BackupDamaged(first.what, f"{first.reason}; it was written twice, and is damaged in its target")


def main() -> None:
    """One question, one answer; before it, each time that something moved, how far it is. It ends with its asker."""
    question = json.loads(sys.stdin.readline())
    settings = Settings.model_validate(question["settings"])
    progress = Progress(settings.path(*SCRATCH))
    saying = threading.Lock()

    def say(word: dict[str, object]) -> None:
        with saying:
            sys.stdout.write(json.dumps(word) + "\n")
            sys.stdout.flush()

    threading.Thread(target=_end_with_asker, daemon=True).start()
    threading.Thread(target=_tell, args=(progress, say), daemon=True).start()
    try:
        answer: dict[str, object] = {"kept": asdict(keep(settings, question["held"], question["wanted"], progress))}
    except PerenneError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    say(answer)
    os._exit(0)  # whoever listens for the end of the asker holds standard input


def _end_with_asker() -> None:
    sys.stdin.read()
    os._exit(3)


def _tell(progress: Progress, say: Callable[[dict[str, object]], None]) -> None:
    seen: tuple[str, int] = ("", 0)
    while True:
        time.sleep(BEAT_S)
        now = (progress.doing, progress.size_bytes)
        if now != seen:
            seen = now
            say({"doing": now[0], "size_bytes": now[1]})


if __name__ == "__main__":
    main()
