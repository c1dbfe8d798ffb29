"""Small documents of several formats, made from a number: the same number gives the same bytes."""

import hashlib
import html
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

from tests.unit import ingest_files as files

_WHO = ("The keeper", "A fisherman", "Her sister", "The old captain", "A cat", "The baker", "Our neighbour", "A young doctor")
_DOES = ("painted", "forgot", "repaired", "sold", "watched", "drew", "hid", "counted")
_WHAT = (
    "the red boat",
    "a copper lamp",
    "seven letters",
    "the garden gate",
    "a map of the bay",
    "the broken clock",
    "an orchard",
)
_WHERE = (
    "behind the mill",
    "at dawn",
    "before the storm",
    "in the harbour",
    "under the bridge",
    "on the island",
    "after lunch",
)
FORMATS = ("txt", "md", "csv", "html", "docx", "pdf", "eml", "json", "rtf")
SAMPLE_BYTES_MAX = 200_000


@dataclass(frozen=True)
class Paper:
    """A file, and the word that no other holds."""

    filename: str
    content: bytes
    mark: str
    sentence: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def mark_of(draw: int) -> str:
    """A word of letters alone that is in no language: one for each number."""
    return "zq" + "".join(chr(ord("a") + int(digit, 16)) for digit in f"{draw:012x}")


def sentences(draw: int, many: int) -> list[str]:
    chance = random.Random(draw)
    parts = (_WHO, _DOES, _WHAT, _WHERE)
    return [" ".join(chance.choice(part) for part in parts) + "." for _ in range(many)]


def paper(draw: int, many: int = 4, format: str | None = None) -> Paper:
    mark, told = mark_of(draw), sentences(draw, many)
    kind = format or random.Random(draw).choice(FORMATS)
    told.insert(1, f"The word is {mark}.")
    text = "\n".join(told)
    content = {
        "txt": text,
        "md": f"# {mark}\n\n{text}\n",
        "csv": "number,sentence\n" + "".join(f'{n},"{line}"\n' for n, line in enumerate(told)),
        "html": f"<html><body>{''.join(f'<p>{html.escape(line)}</p>' for line in told)}</body></html>",
        "docx": files.docx("".join(files.paragraph(line) for line in told)),
        "pdf": files.pdf(text),
        "eml": f"From: ana@example.org\r\nTo: bo@example.org\r\nSubject: About {mark}\r\n\r\n{text}\r\n",
        "json": json.dumps({"lines": told}),
        "rtf": r"{\rtf1\ansi " + r"\par ".join(told) + "}",
    }[kind]
    content = content.encode() if isinstance(content, str) else content
    return Paper(f"{mark}.{kind}", content, mark, told[0])


def lines(draw: int, name: str, many: int) -> tuple[bytes, list[tuple[str, str]]]:
    """JSON lines, and of each its external id and mark."""
    rows, made = list[str](), list[tuple[str, str]]()
    for n in range(many):
        mark = mark_of(draw ^ (n + 1) << 40)
        rows.append(
            json.dumps({"id": f"{name}-{n}", "title": f"{name}-{n}", "text": f"{sentences(draw + n, 1)[0]} It says {mark}."})
        )
        made.append((f"{name}-{n}", mark))
    return ("\n".join(rows) + "\n").encode(), made


def samples() -> list[Path]:
    """Real files of a folder, where PERENNE_SAMPLES names one; small ones, in a fixed order."""
    folder = os.environ.get("PERENNE_SAMPLES", "")
    if not folder:
        return []
    found = (path for path in Path(folder, "documents").iterdir() if path.is_file() and path.suffix != ".tsv")
    return sorted(path for path in found if path.stat().st_size <= SAMPLE_BYTES_MAX)
