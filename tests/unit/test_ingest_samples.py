"""Every file of a folder of samples (`PERENNE_SAMPLES`, with documents/manifest.tsv: path, expect, snippet) ends as it should."""

import csv
import os
from pathlib import Path

import pytest

from actors.ingest.caps import Caps
from actors.ingest.parsed import Refused
from actors.ingest.parser_pool import ParserPool

FOLDER = Path(os.environ.get("PERENNE_SAMPLES") or "absent") / "documents"
CAPS = Caps(256 << 20, 20_000, 50_000_000, 2 << 30, 60.0, 120.0)


def rows() -> list[dict[str, str]]:
    manifest = FOLDER / "manifest.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.skipif(not rows(), reason="PERENNE_SAMPLES names no folder with documents/manifest.tsv")
async def test_every_sample_ends_as_its_manifest_says(tmp_path: Path) -> None:
    pool = ParserPool(CAPS, tmp_path / "work")
    wrong: list[str] = []
    for row in rows():
        name, expected = row["path"], row["expect"]
        try:
            parsed = await pool.parse(FOLDER / name, name=name, output=tmp_path / "out.json")
            assert all(parsed.text[c.start : c.end].strip() for c in parsed.chunks)
            end = "ok" if squeezed(row["snippet"] or "") in squeezed(parsed.text) else "without its snippet"
        except Refused as refusal:
            end = "password" if "needs a password" in str(refusal) else f"refused: {refusal}"
        if expected not in (end, "survive"):
            wrong.append(f"{name}: expected {expected}, got {end}")
        password = (row.get("note") or "").partition("password=")[2]
        if password:
            opened = await pool.parse(FOLDER / name, name=name, output=tmp_path / "out.json", password=password)
            wrong += [] if opened.chunks else [f"{name}: its password opens it, and there is no text in it"]
    await pool.close()
    assert not wrong
