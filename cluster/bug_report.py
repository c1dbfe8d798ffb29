"""One archive for a bug report: what runs, how it is set, what went wrong.

It is made to be sent to strangers: no key, no password, no address of a service, no text, no file's or project's name and no path of the
owner's is in it. Everything becomes text here, and passes `Veil` last."""

import getpass
import io
import json
import os
import platform
import re
import socket
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster import doctor
from cluster.crashes import Crashes, sanitized, tail
from cluster.doorbell import ask_status
from cluster.environment import CHECKOUT
from cluster.instance import HomeLock, read_instance
from cluster.log_lines import last_of, log_files
from cluster.trimming import logs_folder
from cluster.version import version
from perenne.errors import PerenneError
from perenne.logs import ENDING
from perenne.settings import Settings

STATUS_WITHIN_S = 5.0
LOGS_MAX = 60  # files of logs; of each its last lines
LINES_MAX = 200  # of each log of our own processes
CRASHES_MAX = 50
HIDDEN = "…"
_EVERYWHERE = frozenset(("root", "localhost", "127.0.0.1", "::1"))  # names that tell nothing
_PACKAGES = (
    "perenne",
    "ray",
    "faiss-cpu",
    "sqlalchemy",
    "pysqlite3",
    "psycopg",
    "onnxruntime",
    "xllamacpp",
    "fastapi",
    "uvicorn",
)
# Settings whose value is the owner's own: shown as set or not set. The rest are numbers and choices.
_OWN = re.compile(r"(?:^|_)(?:url|key|password|passphrase|secret|token|host|path|home|dir|file|target|allow|pc)s?(?:_|$)")
_PLAIN = re.compile(r"[\w.-]+")  # a model of the catalogue; not a path, and not whose it is
_PATH = re.compile(r"(?<![\w.:/])(?:/[^\s:,;()'\"\[\]{}<>]+)+")
_CODE = re.compile(r"\.(?:py|so[.\d]*)$")
_MODULE = r"(?:perenne|actors|cluster|serve|ray|asyncio|concurrent|sqlalchemy|fastapi|starlette|uvicorn|root)\."
_FILE_NAME = re.compile(
    rf"(?<![\w.])(?!{_MODULE})[^\s/\\()\[\]'\"]+\.(?!py\b|so\b|log\b|err\b|out\b)[A-Za-z][A-Za-z0-9]{{1,4}}\b(?!\()"
)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+")
_MAIL = re.compile(r"\S+@\S+")
_ID = re.compile(r"\b(?!pid_)[a-z]{2,4}_[A-Za-z0-9_-]{4,}\b")


class Veil:
    """Takes out of a line what is the owner's."""

    def __init__(self, settings: Settings) -> None:
        own = {settings.home, os.path.realpath(settings.home), settings.models_dir, str(Path.home()), settings.ray_dir}
        names = {getpass.getuser(), socket.gethostname(), *settings.edge.hosts, *_named(settings.model_dump(mode="json"))}
        self._paths = sorted((path for path in own if len(path) > 1), key=len, reverse=True)
        spoken = sorted((name for name in names - _EVERYWHERE if len(name) > 1), key=len, reverse=True)
        self._names = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in spoken]

    def line(self, line: str) -> str:
        """One line of a log or a sentence. Paths of code stay, from the checkout or the packages on."""
        for path in self._paths:
            line = re.sub(re.escape(path) + r"[^\s:,;()'\"]*", "HOME/" + HIDDEN, line)
        for name in self._names:
            line = name.sub(HIDDEN, line)
        line = _PATH.sub(_path, _MAIL.sub(HIDDEN, _ADDRESS.sub(HIDDEN, line)))
        return _ID.sub(HIDDEN, _FILE_NAME.sub(HIDDEN, sanitized(line)))

    def value(self, value: Any) -> Any:
        """Whatever JSON holds, each text in it a line."""
        if isinstance(value, dict):
            return {self.line(str(key)): self.value(held) for key, held in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(held) for held in value]
        return self.line(value) if isinstance(value, str) else value


def _named(value: Any) -> Iterator[str]:
    """Hosts, users and passwords of the addresses in the settings."""
    if isinstance(value, dict | list):
        for held in value.values() if isinstance(value, dict) else value:
            yield from _named(held)
    elif isinstance(value, str) and "://" in value:
        try:
            parts = urlsplit(value)
            yield from (part for part in (parts.hostname, parts.username, parts.password) if part)
        except ValueError:  # no address that anybody could use
            return


def _path(match: re.Match[str]) -> str:
    """A path of code from its package on; nothing of any other."""
    path = match[0]
    if not _CODE.search(path):
        return HIDDEN
    for root in (f"{CHECKOUT}/", "site-packages/", f"python{sys.version_info[0]}.{sys.version_info[1]}/"):
        if root in path:
            return path.rpartition(root)[2]
    return HIDDEN


def shown(settings: Settings) -> dict[str, Any]:
    """The settings: numbers and choices as they are, of the rest only whether they are set."""
    return _shown(settings.model_dump(mode="json"))


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            told[key] = _shown(value)
        elif isinstance(value, bool | int | float) or value is None:
            told[key] = value
        elif _OWN.search(key) or not isinstance(value, str) or not _PLAIN.fullmatch(value):
            told[key] = "set" if value else "not set"
        else:
            told[key] = value
    return told


def _versions() -> dict[str, Any]:
    told: dict[str, Any] = {"perenne": version(), "python": sys.version.split()[0], "system": platform.system()}
    told |= {"kernel": platform.release(), "machine": platform.machine(), "cores": os.cpu_count()}
    for name in _PACKAGES:
        try:
            told[f"package {name}"] = metadata.version(name)
        except metadata.PackageNotFoundError:
            told[f"package {name}"] = None
    return told


def _status(settings: Settings) -> dict[str, Any]:
    known = read_instance(settings.home)
    if HomeLock(settings.home).holder() is None or known is None:
        return {"running": False}
    try:
        return {"running": True, **asdict(ask_status(known.ray_dir, STATUS_WITHIN_S))}
    except PerenneError as error:
        return {"running": True, "supervisor": str(error)}


def _logs(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """The logs of the home, those of our processes under Ray, and Ray's own; the newest first, each as its last lines."""
    folders = {"home": settings.path("logs"), "ray": logs_folder(settings.ray_dir)}
    found = [
        (place, path) for place, folder in folders.items() for end in ("log", "err", "out") for path in folder.glob(f"*.{end}")
    ]
    dated: list[tuple[float, str, Path]] = []
    for place, path in found:
        try:
            facts = path.stat()
        except OSError:
            continue
        if facts.st_size:
            dated.append((facts.st_mtime, place, path))
    dated.sort(key=lambda one: (one[1] != "home", not one[2].name.startswith("worker-"), -one[0]))
    for _, place, path in dated[:LOGS_MAX]:
        yield f"logs/{place}/{path.name}", tail(path)


class Aliases:
    """The same name for the same id in all logs of one archive, so that a request can be followed through it; the id itself is the owner's."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._given: dict[str, str] = {}

    def of(self, id: str) -> str:
        return self._given.setdefault(id, f"{self._kind}-{len(self._given) + 1}")


def _own_logs(settings: Settings, veil: Veil) -> Iterator[tuple[str, str]]:
    """The JSON lines of our processes, the last of each file that is being written."""
    requests, runs = Aliases("request"), Aliases("run")
    for path in log_files(settings.path("logs")):
        lines = last_of(path, LINES_MAX) if path.name.endswith(ENDING) else []
        if not lines:
            continue
        said: list[str] = []
        for line in lines:
            told: dict[str, Any] = {"time": line.time, "level": line.level, "actor": veil.line(line.actor), "pid": line.pid}
            told |= {"logger": veil.line(line.logger), "message": veil.line(line.message)}
            if line.request_id is not None:
                told["request_id"] = requests.of(line.request_id)
            if line.run_id is not None:
                told["run_id"] = runs.of(line.run_id)
            if line.exception is not None:
                told["exception"] = "\n".join(veil.line(each) for each in line.exception.splitlines())
            said.append(json.dumps(told, ensure_ascii=False) + "\n")
        yield f"logs/home/{veil.line(path.name.removesuffix(ENDING))}{ENDING}", "".join(said)


def report(settings: Settings, now: float | None = None) -> bytes:
    """The archive. What can't be had is said in it; nothing here raises for a broken instance."""
    veil = Veil(settings)
    running = HomeLock(settings.home).holder() is not None
    facts: dict[str, Any] = {
        "versions.json": _versions(),
        "settings.json": shown(settings),
        "status.json": veil.value(_status(settings)),
        "doctor.json": veil.value([asdict(finding) for finding in doctor.examine(settings, running=running)]),
        "crashes.json": veil.value([asdict(crash) for crash in Crashes(settings.path("crashes")).read(CRASHES_MAX)]),
    }
    moment = time.gmtime(time.time() if now is None else now)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, moment[:6]), text, zipfile.ZIP_DEFLATED)

        for name, told in facts.items():
            add(name, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        for name, text in _own_logs(settings, veil):
            add(name, text)
        for name, lines in _logs(settings):
            add(name, "".join(veil.line(line) + "\n" for line in lines))
    return packed.getvalue()
