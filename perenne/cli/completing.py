"""What a press of Tab offers: names and ids that the instance knows. Quick, and silent when there is none.

It asks by the standard library alone: a client's imports take longer than its answer. The key goes to the instance and nowhere else.
"""

import functools
import json
import os
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

_WITHIN_S = 0.25  # for each wait on the instance; a shell is kept waiting no longer
_BYTES_MAX = 1 << 20
_PLAIN = re.compile(r"[\w.@%+=,-]+")  # what a shell takes as one word, as it stands

Offers = list[tuple[str, str]]  # a word and what it is


def _silent(offer: Callable[[str], Offers]) -> Callable[[str], Offers]:
    """Nothing, and not a word, when anything is wrong."""

    @functools.wraps(offer)
    def quiet(incomplete: str) -> Offers:
        try:
            return offer(incomplete)
        except Exception:  # whatever it is, a shell that completes is no place to say it
            return []

    return quiet


@_silent
def project_names(incomplete: str) -> Offers:
    """Projects by name; by id where the name is no plain word or the id is begun."""
    offers: Offers = []
    for project in _asked("/api/projects?limit=500"):
        name, id = str(project["name"]), str(project["id"])
        if _PLAIN.fullmatch(name) and name.startswith(incomplete):
            offers.append((name, f"{project['documents']} documents"))
        elif id.startswith(incomplete) and (incomplete or not _PLAIN.fullmatch(name)):
            offers.append((id, _words(name)))
    return offers


@_silent
def job_ids(incomplete: str) -> Offers:
    """The newest jobs."""
    return [
        (str(job["id"]), _words(f"{job['state']} {job.get('filename') or ''}"))
        for job in _asked("/api/jobs?limit=100")
        if str(job["id"]).startswith(incomplete)
    ]


@_silent
def key_ids(incomplete: str) -> Offers:
    """Keys that are not revoked."""
    return [
        (str(key["id"]), _words(key["label"]))
        for key in _asked("/api/keys")
        if str(key["id"]).startswith(incomplete) and not key.get("revoked_at")
    ]


def _words(text: str) -> str:
    """On one line, without what a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _asked(path: str) -> list[dict[str, Any]]:
    """What the instance lists there."""
    from http.client import HTTPConnection, HTTPSConnection

    home = Path(os.environ.get("PERENNE_HOME") or Path.home() / ".perenne").expanduser()
    address = os.environ.get("PERENNE_ADDRESS") or json.loads((home / "run" / "instance.json").read_text())["http"]
    key = os.environ.get("PERENNE_KEY") or (home / "key").read_text().strip()
    parts = urlsplit(address)
    kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
    with closing(kind(parts.hostname or "", parts.port, timeout=_WITHIN_S)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        listed: Any = json.loads(answer.read(_BYTES_MAX))
        return cast("list[dict[str, Any]]", listed if isinstance(listed, list) else listed["items"])
