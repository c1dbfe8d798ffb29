"""Search by words on both databases: the same passages in the same order with the same scores."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store import fulltext
from perenne.messages import commands as c
from perenne.messages.search import Filters
from tests.postgresql import Cluster
from tests.unit.store.store_house import StoreHouse, on_sqlite

WORDS = (
    "harbour",
    "lights",
    "boats",
    "captains",
    "storms",
    "sailing",
    "Córdoba",
    "camión",
    "niños",
    "el",
    "la",
    "the",
    "of",
    "2024",
    "東京都",
    "l'été",
    "straße",
)


def filled(home: Path, url: str) -> StoreHouse:
    """A few hundred passages of two people."""
    house, chance = StoreHouse(home, url=url).people(), random.Random(5)
    for user_id in ("ana", "bob"):
        job = house.lines(user_id)
        for n in range(120):
            title = " ".join(chance.choices(WORDS, k=chance.randint(1, 4)))
            texts = [" ".join(chance.choices(WORDS, k=chance.randint(0, 60))) for _ in range(chance.randint(1, 4))]
            chunks = tuple(
                c.NewChunk(ordinal=i, text=each, start=0, end=len(each), language=chance.choice(["en", "es", None]))
                for i, each in enumerate(texts)
            )
            whole = max(texts, key=len)
            made = c.IndexedDocument(
                document_id=f"{user_id}{n}", external_id=f"{user_id}{n}", title=title, text=whole, chunks=chunks, vectors=b""
            )
            house.store(job, made)
    return house


@pytest.fixture(scope="module")
def houses(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreHouse, StoreHouse]]:
    homes = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    made = filled(homes[0], on_sqlite(homes[0])), filled(homes[1], cluster.of_home(homes[1]))
    yield made
    for house in made:
        house.close()


@pytest.mark.parametrize(
    "query",
    [
        "harbour lights",
        "boats",
        "camion ninos",
        "the of and",
        "Cordoba captains in a storm 2024",
        "東京",
        "été strasse",
        "nothing",
    ],
)
@pytest.mark.parametrize("conditions", [{}, {"languages": ("es",)}, {"external_ids": tuple(f"ana{n}" for n in range(40))}])
@pytest.mark.parametrize("project", [None, "ana-home"])
def test_every_score_is_the_same(
    houses: tuple[StoreHouse, StoreHouse], query: str, conditions: dict[str, tuple[str, ...]], project: str | None
) -> None:
    one, other = (
        house.ask(fulltext.search_text, fulltext.WordCounts(), "ana", project, query, 20, Filters(**conditions))
        for house in houses
    )
    assert other.ids == one.ids
    assert other.scores == pytest.approx(one.scores, rel=1e-6)
    assert bool(one.ids) == (query != "nothing")
