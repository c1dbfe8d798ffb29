"""Search over the real store and real shards: filters that never fall short, shards that lag or are away."""

import asyncio

from actors.index.policy import shard_of
from perenne import names
from perenne.ids import new_id
from perenne.messages.commands import CreateProject, LinkDocument, UnlinkDocument
from perenne.messages.search import Filters, SearchRequest

USER = "ana"


def ask(world, query, **more):
    return SearchRequest(user_id=USER, query=query, **({"project_id": world.project_id} | more))


async def dense(world, request):
    """External ids of what the half that goes by meaning offers."""
    found = await world.host._searcher.candidates(request)
    assert found.dense is not None, found.degraded
    return {chunk.external_id for chunk in found.chunks if chunk.id in found.dense.scores}, found.degraded


async def test_a_filter_by_external_id_is_exact_however_far_its_documents_are(world):
    # The shards did not know external ids: 200 candidates were fetched and filtered afterwards, so 250 nearer passages hid these.
    near = {f"near-{n}": f"The steam engine of mill number {n}" for n in range(250)}
    await world.add(near, dict.fromkeys(near, "en"))
    request = ask(world, "the steam engine of the mill", filters=Filters(external_ids=("river", "molino")))
    assert (await dense(world, request))[0] == {"river", "molino"}

    both = Filters(external_ids=("river", "molino"), document_ids=("doc_none",))
    assert (await dense(world, ask(world, "steam", filters=both)))[0] == set(), "both conditions must hold"
    assert (await dense(world, ask(world, "steam", filters=Filters(external_ids=("nowhere",)))))[0] == set()
    assert (await dense(world, ask(world, "steam", project_id=None, filters=Filters(external_ids=("river",)))))[0] == {"river"}


def spread(world, ids):
    return {shard_of(document_id, world.settings.shards) for document_id in ids.values()}


async def test_two_shards_answer_as_one(two_shards):
    texts = {f"bridge-{n}": f"The iron bridge number {n} at Calder" for n in range(12)}
    ids = await two_shards.add(texts, dict.fromkeys(texts, "en"))
    assert spread(two_shards, ids) == {0, 1}
    found, degraded = await dense(two_shards, ask(two_shards, "the iron bridge at Calder", k=20))
    assert found >= set(texts)
    assert degraded is None


async def lagging(world, number):
    """That shard applies nothing any more."""
    follower = world.part(names.index_shard(world.space, number))._follower
    await asyncio.to_thread(follower.stop)


async def test_what_one_of_two_shards_has_not_seen_yet_is_scanned(two_shards):
    await lagging(two_shards, 1)
    texts = {f"bridge-{n}": f"The iron bridge number {n} at Calder" for n in range(12)}
    ids = await two_shards.add(texts, dict.fromkeys(texts, "en"))
    assert spread(two_shards, ids) == {0, 1}
    found, _ = await dense(two_shards, ask(two_shards, "the iron bridge at Calder", k=20))
    assert found >= set(texts)


async def test_a_document_that_came_into_a_project_or_left_it_is_seen_so_by_a_search_over_shards_that_lag(two_shards):
    # The scan of the gap went by the age of vectors: a linked document has old ones. An unlinked one was still shown.
    world = two_shards
    ids = await world.add({"bridge": "The iron bridge at Calder"}, {"bridge": "en"})
    assert "bridge" in (await dense(world, ask(world, "the iron bridge")))[0]
    other = await world.store.write(CreateProject(command_id=new_id("c"), user_id=USER, project_id=new_id("prj"), name="other"))
    for number in range(2):
        await lagging(world, number)
    moved = {"user_id": USER, "document_id": ids["bridge"]}
    await world.store.write(LinkDocument(command_id=new_id("c"), project_id=other.id, **moved))
    assert (await dense(world, ask(world, "the iron bridge", project_id=other.id)))[0] == {"bridge"}

    await world.store.write(UnlinkDocument(command_id=new_id("c"), project_id=world.project_id, **moved))
    assert "bridge" not in (await dense(world, ask(world, "the iron bridge")))[0]


async def test_search_answers_from_live_shards_while_one_restarts(two_shards):
    # One shard away took the answers of all others with it.
    texts = {f"bridge-{n}": f"The iron bridge number {n} at Calder" for n in range(12)}
    ids = await two_shards.add(texts, dict.fromkeys(texts, "en"))
    live = {title for title, document_id in ids.items() if shard_of(document_id, 2) == 0}
    two_shards.directory.kill(names.index_shard(two_shards.space, 1))
    found, degraded = await dense(two_shards, ask(two_shards, "the iron bridge at Calder", k=20))
    assert live <= found
    assert not (set(texts) - live) & found
    assert names.index_shard(two_shards.space, 1) in degraded
