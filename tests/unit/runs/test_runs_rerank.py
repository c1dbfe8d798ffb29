"""A reranker in the search: off unless configured, and never a reason not to answer."""

import pytest

from perenne import names
from perenne.errors import Busy
from perenne.messages.models import RerankRequest, RerankScores
from perenne.messages.search import SearchRequest
from perenne.settings import ModelSettings

USER = "ana"
QUERY = "the steam engine of the mill"


class Contrary:
    """Likes one passage best, and all others the same."""

    def __init__(self) -> None:
        self.requests: list[RerankRequest] = []
        self.likes = "Salmon"
        self.error: Exception | None = None
        self.left_out = 0

    async def rerank(self, request: RerankRequest) -> RerankScores:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        scores = [1.0 if self.likes in text else 0.1 for text in request.texts]
        return RerankScores(scores=tuple(scores[self.left_out :]))


@pytest.fixture
def reranker(world):
    """Configured, and there."""
    model = ModelSettings(engine="transformers", model="/models/cross")
    searcher = world.host._searcher
    searcher._settings = searcher._settings.model_copy(update={"reranking": model})
    held = Contrary()
    world.directory.put(names.RERANKING, held)
    return held


async def search(world):
    return await world.host.search(SearchRequest(user_id=USER, query=QUERY, project_id=world.project_id))


async def test_nobody_is_asked_where_none_is_configured(world):
    held = Contrary()
    world.directory.put(names.RERANKING, held)
    found = await search(world)
    assert found.hits[0].external_id == "engine"
    assert held.requests == []
    assert "reranking" not in found.parts


async def test_the_order_is_the_rerankers_and_the_scores_stay_what_they_were(world, reranker):
    world.directory.kill(names.RERANKING)
    before = await search(world)
    world.directory.put(names.RERANKING, reranker)
    found = await search(world)
    assert found.hits[0].external_id == "river"
    assert [hit for hit in found.hits if hit.external_id != "river"] == [h for h in before.hits if h.external_id != "river"]
    assert {h.chunk_id: h.score for h in found.hits} == {h.chunk_id: h.score for h in before.hits}
    assert found.parts == ("lexical", "dense", "reranking")
    assert found.degraded is None
    assert reranker.requests[-1].query == QUERY


@pytest.mark.parametrize("trouble", ["away", "late", "busy", "short"])
async def test_a_search_goes_on_without_a_reranker_that_does_not_answer(world, reranker, trouble, monkeypatch):
    monkeypatch.setattr("actors.runs.rerank.WITHIN_S", 0.1)
    if trouble == "away":
        world.directory.kill(names.RERANKING)
    elif trouble == "late":
        world.directory.hang(names.RERANKING)
    elif trouble == "busy":
        reranker.error = Busy("the model's line (8 wait)", 3.0)
    else:
        reranker.left_out = 1
    found = await search(world)
    assert found.hits[0].external_id == "engine"
    assert found.parts == ("lexical", "dense")
    assert "not reranked" in found.degraded


async def test_what_lies_beyond_what_it_reads_keeps_its_place(world, reranker, monkeypatch):
    world.directory.kill(names.RERANKING)
    plain = (await search(world)).hits
    assert len(plain) == 3
    reranker.likes = plain[2].text
    world.directory.put(names.RERANKING, reranker)
    monkeypatch.setattr("actors.runs.rerank.READ_MAX", 2)
    assert (await search(world)).hits == plain
    assert reranker.requests[-1].texts == (plain[0].text, plain[1].text)
