"""A whole instance whose three models run on transformers: indexed with MiniLM, reranked, and answered by a model that is made here."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_models import ANSWER, QUESTION

import perenne
from tests.live.running import RunningInstance

TEXTS = {
    "refund": "Money is paid back within two weeks after the goods were returned.",
    "chapel": "Michelangelo worked on the vault of the chapel for four years.",
    "shop": "We are closed at weekends and on public holidays.",
}


@pytest.fixture
def instance(minilm: Path, speaker: Path, cross_encoder: Path) -> Iterator[RunningInstance]:
    running = RunningInstance()
    settings = {
        "language": {"engine": "transformers", "model": str(speaker), "context_tokens": 1024},
        "embedding": {"engine": "transformers", "model": str(minilm)},  # by its path: the space is named for it
        "reranking": {"engine": "transformers", "model": str(cross_encoder)},
    }
    (running.home / "config.yaml").write_text(json.dumps(settings))
    try:
        yield running.start()
    finally:
        running.close()


@pytest.mark.timeout(400)
def test_documents_are_found_by_meaning_in_the_rerankers_order_and_a_question_is_answered(
    instance: RunningInstance, tmp_path: Path
) -> None:
    lines = tmp_path / "texts.jsonl"
    lines.write_text("".join(json.dumps({"id": name, "title": name, "text": text}) + "\n" for name, text in TEXTS.items()))
    with instance.client(60.0) as client, perenne.connect_sync(instance.address, key=instance.key) as house:

        def phases() -> dict[str, str]:
            return {model["role"]: model["phase"] for model in client.get("/api/models").json()}

        wanted = dict.fromkeys(("language", "embedding", "reranking"), "ready")
        assert instance.until(lambda: phases() == wanted, 120), client.get("/api/models").json()
        house.create_project("texts")
        job = house.add_jsonl(lines, "texts")
        assert instance.until(lambda: house.job(job.id).state in ("done", "failed"), 90), house.job(job.id)
        asked = {"query": "How do I get my cash returned?", "project": "texts", "k": 3}
        found = client.post("/api/search", json=asked).raise_for_status().json()
        assert found["parts"] == ["lexical", "dense", "reranking"], found
        assert found["degraded"] is None
        assert {hit["external_id"] for hit in found["hits"]} == set(TEXTS)
        assert max(found["hits"], key=lambda hit: hit["score"])["external_id"] == "refund"
        question = {"role": "user", "content": QUESTION}
        said = client.post("/v1/chat/completions", json={"model": "language", "temperature": 0, "messages": [question]})
        assert said.raise_for_status().json()["choices"][0]["message"]["content"] == ANSWER
    assert [path.name for path in (instance.home / "index").iterdir()] == [instance.settings.embedding.space]
