"""Critical alerts while the database is away: a small file under the home, on disk before `add` returns, handed in afterwards."""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from actors.alerts.centre import Raise
from perenne.api import decode

log = logging.getLogger(__name__)

KEPT_MAX = 200  # alerts: of each fingerprint the first


class Spool:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = self._read()

    def _read(self) -> dict[str, Raise]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {raised.fingerprint: raised for raised in (decode(Raise, each) for each in found)}
        except FileNotFoundError:
            return {}
        except Exception as error:  # of another version, or damaged: what it told of is seen again, if it is still so
            log.warning("%s can't be read and is begun anew: %s", self._path, error)
            return {}

    def entries(self) -> tuple[Raise, ...]:
        """Oldest first."""
        return tuple(self._held.values())

    def add(self, alert: Raise) -> bool:
        """Keep it, unless one of its fingerprint is kept. False when the disk does not take it: then it is held in memory only."""
        if alert.fingerprint in self._held or len(self._held) >= KEPT_MAX:
            return True
        self._held[alert.fingerprint] = alert
        return self._write()

    def remove(self, alert: Raise) -> None:
        if self._held.pop(alert.fingerprint, None) is not None:
            self._write()

    def _write(self) -> bool:
        aside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump([asdict(each) for each in self._held.values()], file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            log.warning("an alert could not be kept in %s: %s", self._path, error)
            return False
        return True
