"""A fixed slice of the broken files of `make fuzz`: each has an answer, and the process that forks the parsers outlives them."""

from pathlib import Path

import pytest

from actors.ingest.parser_pool import ParserPool
from actors.ingest.reading import read
from actors.ingest.source import Source
from tests.fuzz.mutations import mutated
from tests.fuzz.originals import PASSWORD, originals
from tests.fuzz.parsers import CAPS, Tally, one

SEEDS = range(3)


@pytest.mark.parametrize("name", sorted(originals()))
def test_the_honest_file_of_each_format_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "blob"
    path.write_bytes(originals()[name])
    parsed = read(Source(path=path, name=name, caps=CAPS, password=PASSWORD), tmp_path / "out")
    assert parsed.text
    assert not parsed.skipped


async def test_broken_files_have_an_answer_each(tmp_path: Path) -> None:
    pool, tally = ParserPool(CAPS, tmp_path / "work"), Tally()
    for name in sorted(originals()):
        for seed in SEEDS:
            await one(pool, tmp_path, name, seed, tally)
    await pool.close()
    assert tally.inputs == len(SEEDS) * len(originals())
    assert not tally.unanswered
    assert len(tally.nurses) == 1
    ends = {end for ends in tally.ends.values() for end in ends}
    assert {"text", "damaged"} <= ends


def test_the_same_seed_breaks_a_file_the_same_way() -> None:
    for name, content in originals().items():
        assert mutated(content, name, 7) == mutated(content, name, 7)
    assert len({mutated(originals()["a.docx"], "a.docx", seed)[1] for seed in range(60)}) > 8
