"""What a command says when it can't do what was asked: one sentence, what to type next, and an exit code by which scripts tell."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from perenne.errors import PerenneError


class Exit(IntEnum):
    """How a command ended. docs/reasons.md has this table for people."""

    DONE = 0
    PARTLY = 1  # it ran, and not all of it went well
    TYPED = 2  # the command line or a setting is wrong
    MACHINE = 3  # this PC lacks something: a port, memory, disk, weights
    AWAY = 4  # no Perenne answers
    KEY = 5
    NOT_FOUND = 6
    REFUSED = 7  # as it stands, it can never succeed
    LATER = 8  # the same command may succeed in a moment
    FILE = 9  # a file of yours can't be read
    FAILED = 10  # something of ours is broken
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error as it is told."""

    code: str
    exit: Exit
    sentence: str
    next: str


def home() -> Path:
    """As `perenne.settings.home_of`, without what reading settings takes to import."""
    return Path(os.environ.get("PERENNE_HOME") or Path.home() / ".perenne").expanduser().absolute()


def program() -> str:
    """The command as it was typed: after `make run` it is not on the PATH."""
    return sys.argv[0] if Path(sys.argv[0]).name == "perenne" else "perenne"


def _typed(words: Sequence[str]) -> str:
    """The same command once more, but for its passwords, that of a database's address too."""
    shown = [("PASSWORD" if before == "--password" else word) for before, word in zip(["", *words], words, strict=False)]
    shown = [re.sub(r"^--password=.*", "--password=PASSWORD", word, flags=re.DOTALL) for word in shown]
    return shlex.join([program(), *(re.sub(r"(postgres[\w+]*://[^:/@]*):.*@", r"\1:PASSWORD@", word) for word in shown)])


def _help(words: Sequence[str]) -> str:
    """The help of the command that was typed: its words up to the first that is no name of a command."""
    named = [words[0]] if words and re.fullmatch(r"[a-z]+", words[0]) else []
    if (
        named
        and named[0] in ("projects", "jobs", "keys", "models", "watch", "database", "channels", "backup")
        and len(words) > 1
        and re.fullmatch(r"[a-z]+", words[1])
    ):
        named.append(words[1])
    return " ".join([program(), *named, "--help"])


def _command_help(error: Exception, words: Sequence[str]) -> str:
    """The help of the command that typer got to before it stumbled, or of the one that was meant."""
    from difflib import get_close_matches

    context: Any = getattr(error, "ctx", None)
    unknown = re.match(r"No such command '(.+?)'", str(error))
    if unknown and (meant := get_close_matches(unknown[1], context.command.list_commands(context), 1)):
        return " ".join([program(), *context.command_path.split()[1:], meant[0], "--help"])
    return " ".join([program(), *(context.command_path.split()[1:] if context is not None else []), "--help"])


def _up(error: Exception, words: Sequence[str]) -> str:
    return "unset PERENNE_ADDRESS" if os.environ.get("PERENNE_ADDRESS") else f"{program()} up"


def _other(error: Exception, words: Sequence[str]) -> str:
    return "unset PERENNE_ADDRESS" if os.environ.get("PERENNE_ADDRESS") else f"{program()} doctor"


def _key(error: Exception, words: Sequence[str]) -> str:
    key = home() / "key"
    if os.environ.get("PERENNE_KEY") and os.access(key, os.R_OK):
        return "unset PERENNE_KEY"  # then this home's own is sent
    return f"ls -l {shlex.quote(str(key))}" if key.exists() and not os.access(key, os.R_OK) else "export PERENNE_KEY=pk_…"


def _scope(error: Exception, words: Sequence[str]) -> str:
    needed = str(getattr(error, "needed", ""))
    return f"{program()} keys create NAME --scope {needed if needed in ('read', 'write', 'admin') else 'admin'}"


def _listed(error: Exception, words: Sequence[str]) -> str:
    found = re.match(r"(?:there is )?no (\w+)", str(error))
    lists = {
        "backup": "backup list",
        "channel": "channels list",
        "project": "projects list",
        "job": "jobs list",
        "key": "keys list",
        "model": "models list",
    }
    return f"{program()} {lists[found[1]]}" if found and found[1] in lists else _help(words)


def _taken(error: Exception, words: Sequence[str]) -> str:
    return f"{program()} projects list" if words[:1] == ["projects"] else _help(words)


def _settings(error: Exception, words: Sequence[str]) -> str:
    own = home() / "config.yaml"
    return f"${{EDITOR:-nano}} {shlex.quote(str(own))}" if os.access(own, os.R_OK) else "env | grep ^PERENNE_"


def _again(error: Exception, words: Sequence[str]) -> str:
    return f"sleep {max(1, round(float(getattr(error, 'retry_after_s', 1.0))))} && {_typed(words)}"


def _ours(command: str) -> Callable[[Exception, Sequence[str]], str]:
    return lambda error, words: f"{program()} {command}"


def _file(error: Exception, words: Sequence[str]) -> str:
    path = Path(str(getattr(error, "filename", None) or "."))
    return f"ls -ld {shlex.quote(str(path if path.exists() else path.parent))}"


_BY_CODE: dict[str, tuple[Exit, Callable[[Exception, Sequence[str]], str]]] = {
    "configuration": (Exit.TYPED, _settings),
    "usage": (Exit.TYPED, _command_help),
    "storage_failed": (Exit.MACHINE, _ours("doctor")),
    "weights_unavailable": (Exit.MACHINE, _ours("models pull --from FOLDER")),
    "not_running": (Exit.AWAY, _up),
    "not_perenne": (Exit.AWAY, _other),
    "unauthorized": (Exit.KEY, _key),
    "forbidden": (Exit.KEY, _scope),
    "not_found": (Exit.NOT_FOUND, _listed),
    "wrong_passphrase": (Exit.KEY, lambda error, words: "export PERENNE_BACKUP_PASSPHRASE=…"),
    "backup_damaged": (Exit.FAILED, _ours("backup list")),
    "invalid_request": (Exit.REFUSED, lambda error, words: _help(words)),
    "conflict": (Exit.REFUSED, _taken),
    "command_reused": (Exit.REFUSED, lambda error, words: _typed(words)),
    "lease_lost": (Exit.REFUSED, _ours("jobs list")),
    "too_large": (
        Exit.REFUSED,
        lambda error, words: f"${{EDITOR:-nano}} {shlex.quote(str(home() / 'config.yaml'))}",
    ),
    "quota_exceeded": (Exit.REFUSED, lambda error, words: _help(words)),
    "checksum_mismatch": (Exit.LATER, lambda error, words: _typed(words)),
    "busy": (Exit.LATER, _again),
    "rate_limited": (Exit.LATER, _again),
    "unavailable": (Exit.LATER, _ours("status")),
    "model_not_ready": (Exit.LATER, _ours("status")),
    "deadline_exceeded": (Exit.LATER, _ours("status")),
    "file": (Exit.FILE, _file),
    "engine_failed": (Exit.FAILED, _ours("models check")),
    "server_error": (Exit.FAILED, _ours("doctor")),
    "error": (Exit.FAILED, _ours("doctor")),
}


def _named(error: Exception) -> str:
    """The error's code, where the table has it; else that of the nearest class that it descends from."""
    if isinstance(error, PerenneError):
        known = [error.code, *(str(vars(kind).get("code", "")) for kind in type(error).__mro__)]
        return next((code for code in known if code in _BY_CODE), "error")
    return "file" if isinstance(error, OSError) else "usage"


def trouble_of(error: Exception, words: Sequence[str]) -> Trouble:
    """An error of ours, of a file or of the command line (`words`), as it is told."""
    code = _named(error)
    end, what_next = _BY_CODE[code]
    told: Any = getattr(error, "format_message", None)
    sentence = str(told() if told is not None else error)
    if isinstance(error, OSError) and error.filename is not None:
        sentence = f"expected a file that can be read, and {str(error.filename)!r} is not: {error.strerror}"
    return Trouble(code, end, " ".join(sentence.split()).rstrip("."), what_next(error, words))


def tell(error: Exception) -> int:
    """Say it, on standard error to people and with --json also as an object on standard output; how the command is to end."""
    words = sys.argv[1:]
    trouble = trouble_of(error, words)
    if "--json" in (words[: words.index("--")] if "--" in words else words):
        import json

        told = {"code": trouble.code, "message": trouble.sentence, "next": trouble.next, "exit": int(trouble.exit)}
        print(json.dumps({"error": told}, ensure_ascii=False), flush=True)
    print(f"perenne: {trouble.sentence}; type: {trouble.next}", file=sys.stderr)
    return int(trouble.exit)
