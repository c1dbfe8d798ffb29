import hashlib
import itertools
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from file_server import FileServer

from actors.models.catalogue import HubFile, ModelEntry, ModelFile, PackagePart, Source

CONTENT = random.Random(7).randbytes(1_500_000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def content() -> bytes:
    return CONTENT


@pytest.fixture
def server():
    serving = FileServer(CONTENT)
    yield serving
    serving.close()


@pytest.fixture
def entry_from():
    """An entry of one file with these sources."""

    def make(*sources: Source, sha256: str = sha(CONTENT), size: int = len(CONTENT)) -> ModelEntry:
        file = ModelFile(name="weights.bin", size=size, sha256=sha256, sources=sources)
        return ModelEntry(
            id="small", role="language", engine="llama_cpp", title="Small", licence="CC0", languages=("en",), files=(file,)
        )

    return make


@pytest.fixture
def hub() -> Source:
    return Source(hub=HubFile(repo="them/small", file="weights.bin"))


@pytest.fixture
def parts_of():
    """The content cut into parts as packages know them."""

    def make(cuts: tuple[int, ...]) -> tuple[tuple[PackagePart, bytes], ...]:
        edges = (0, *cuts, len(CONTENT))
        found = []
        for number, (start, end) in enumerate(itertools.pairwise(edges), 1):
            data = CONTENT[start:end]
            part = PackagePart(
                package=f"box-part{number}",
                version="1.0",
                member=f"box_part{number}/data.bin",
                size=len(data),
                sha256=sha(data),
            )
            found.append((part, data))
        return tuple(found)

    return make
