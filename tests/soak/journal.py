"""Every write that was begun, acknowledged or refused, on disk before it counts, outside of the instance."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Standing = Literal["begun", "acknowledged"]
LAST = 40  # lines that are told of when something went wrong


@dataclass
class Thing:
    """Something that a client made. `name` is in no other; `mark`: a word that only its text holds; `inside`: the name of its
    project. `removed`: how far its removal has come."""

    kind: str
    name: str
    client: int
    id: str = ""
    made: Standing = "begun"
    removed: Standing | None = None
    mark: str = ""
    sha256: str = ""
    inside: str = ""
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def lives(self) -> bool:
        return self.made == "acknowledged" and self.removed is None


class Journal:
    """`begin`, then `acknowledge`; `removing`, then `removed`. Each is on disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self.path = path
        self.things: dict[str, Thing] = {}  # by name
        self.wrong: list[str] = []  # what contradicts a promise, in words
        self.last: deque[str] = deque(maxlen=LAST)
        self.acknowledged = 0

    def close(self) -> None:
        self._file.close()

    def begin(self, thing: Thing, command: str) -> Thing:
        self.things[thing.name] = thing
        self._put("begun", thing, command=command)
        return thing

    def acknowledge(self, thing: Thing, id: str, **response: Any) -> None:
        thing.id, thing.made = id, "acknowledged"
        self.acknowledged += 1
        self._put("acknowledged", thing, id=id, **response)

    def removing(self, thing: Thing) -> None:
        for each in (thing, *self.within(thing)):
            each.removed = each.removed or "begun"
        self._put("removing", thing)

    def remove(self, thing: Thing) -> None:
        for each in (thing, *self.within(thing)):
            each.removed = "acknowledged"
        self.acknowledged += 1
        self._put("removed", thing)

    def within(self, thing: Thing) -> list[Thing]:
        """What goes with it: a project's documents, a conversation's messages."""
        return (
            [each for each in self.things.values() if each.inside == thing.name]
            if thing.kind in ("project", "conversation")
            else []
        )

    def of(self, client: int, kind: str) -> list[Thing]:
        """What lives of a client's, oldest first."""
        return [each for each in self.things.values() if each.client == client and each.kind == kind and each.lives]

    def all(self, kind: str) -> Iterator[Thing]:
        return (each for each in list(self.things.values()) if each.kind == kind)

    def complain(self, words: str) -> None:
        """Something contradicts a promise."""
        self.wrong.append(words)
        self.note("wrong", words=words)

    def note(self, what: str, **said: Any) -> None:
        """A line that is no write: a fault, a stream's end."""
        self._write({"what": what, **said})

    def _put(self, what: str, thing: Thing, **said: Any) -> None:
        self._write({"what": what, "kind": thing.kind, "name": thing.name, "client": thing.client, "id": thing.id, **said})

    def _write(self, said: dict[str, Any]) -> None:
        line = json.dumps({"at": round(time.time(), 3), **said}, ensure_ascii=False)
        self.last.append(line)
        self._file.write(line + "\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())
