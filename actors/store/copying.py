"""Copies of the database are made and looked at in a process of their own, at low priority: the reader goes on answering, and what
that took of memory is gone afterwards. It ends when its asker does."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from perenne.errors import PerenneError, StorageFailed, Unavailable
from perenne.messages.backups import Cut, CutChecked

NICE = 10
WITHIN_S = 12 * 3_600.0
_CUT, _CHECKED = TypeAdapter(Cut), TypeAdapter(CutChecked)


def cut_apart(url: str, folder: Path) -> Cut:
    """See `cutting.cut`."""
    return _CUT.validate_python(_ask({"url": url, "folder": str(folder)}))


def check_apart(url: str, folder: Path, made: Cut) -> CutChecked:
    """See `restored.check_restorable`."""
    return _CHECKED.validate_python(_ask({"url": url, "folder": str(folder), "cut": asdict(made)}))


def _ask(question: dict[str, Any]) -> Any:
    """The answer of a process that is asked on its standard input: an address there is in nobody's list of processes."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()  # it stays open: its end is how the child learns of ours
        errors: list[str] = []
        listening = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
        listening.start()
        said = child.stdout.read()
        code = child.wait()
        listening.join(5.0)
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            stream.close()
    if code or not said:
        raise Unavailable("the copy of the database", 1.0, f"its process ended with {code}: {''.join(errors)[-500:].strip()}")
    answer = json.loads(said)
    if "error" in answer:
        raise (
            StorageFailed(answer["error"])
            if answer["kind"] == "storage_failed"
            else Unavailable("a copy", 1.0, answer["error"])
        )
    return answer["value"]


def _end_with_asker() -> None:
    sys.stdin.read()
    os._exit(3)


def main() -> None:
    """One question, one answer."""
    question = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    os.nice(NICE)
    from actors.store.cutting import cut
    from actors.store.restored import check_restorable

    url, folder = question["url"], Path(question["folder"])
    try:
        if "cut" in question:
            value: Any = check_restorable(url, folder, _CUT.validate_python(question["cut"]))
        else:
            value = cut(url, folder)
        answer: dict[str, Any] = {"value": asdict(value)}
    except PerenneError as error:
        answer = {"error": str(error), "kind": error.code}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # whoever listens for the end of the asker holds standard input


if __name__ == "__main__":
    main()
