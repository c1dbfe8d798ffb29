"""Embeddings and reranking by transformers, against plain torch: with small models of random weights, and with MiniLM for real."""

import asyncio
import json
import shutil
import time

import numpy as np
import pytest
import torch
import transformers
from small_models import encoder as make_encoder

from actors.models.transformers_embedder import TransformersEmbedder
from actors.models.transformers_reranker import TransformersReranker
from perenne.errors import Busy, EngineFailed, TooLarge
from perenne.messages.models import EmbedRequest, RerankRequest
from perenne.testing import eventually

TEXTS = (
    "the cat sleeps on the sofa",
    "",
    "rates rose in march",
    "the bridge was built of iron while it rains and rates rose in march and the cat sleeps on the bridge "
    * 8,  # beyond the model
    "iron",
    "\ud800 what is hardly a text \0",
    "the bridge was built of iron",
) * 7  # more than one batch


def rows_of(found) -> np.ndarray:
    return np.frombuffer(found.data, "<f4").reshape(found.count, found.dimension)


def reference(folder, texts, *, tokens_max: int, pooling: str = "mean") -> np.ndarray:
    """One text at a time, without padding, in plain torch."""
    tokenizer, model = (kind.from_pretrained(folder) for kind in (transformers.AutoTokenizer, transformers.AutoModel))
    rows = []
    for text in texts:
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        ids = tokenizer(text, truncation=True, max_length=tokens_max, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        row = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        rows.append((row / row.norm()).numpy())
    return np.array(rows)


async def test_vectors_are_in_order_and_the_same_in_a_batch_as_alone(made, encoder) -> None:
    embedder = made(TransformersEmbedder, encoder)
    found = await embedder.embed(EmbedRequest(texts=TEXTS))
    assert (found.count, found.dimension) == (len(TEXTS), 48)
    assert found.tokens > 2 * len(TEXTS)
    expected = reference(encoder, TEXTS, tokens_max=64)
    assert np.abs(rows_of(found) - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[2]).max() > 0.05  # else all of this says nothing
    assert embedder.figures().prompt_tokens_per_s > 0


async def test_pooling_length_and_words_before_a_text_are_what_the_model_itself_says(made, encoder, tmp_path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(encoder, folder)
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    prompts = {"query": "rates: ", "document": "iron: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    embedder = made(TransformersEmbedder, folder)
    for kind, before in (("query", "rates: "), ("passage", "iron: ")):
        found = await embedder.embed(EmbedRequest(texts=TEXTS[:4], kind=kind))
        expected = reference(encoder, [before + text for text in TEXTS[:4]], tokens_max=12, pooling="cls")
        assert np.abs(rows_of(found) - expected).max() < 1e-5
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(EngineFailed, match="pools by pooling_mode_max_tokens; expected one of"):
        made(TransformersEmbedder, folder)


async def test_minilm_is_the_reference_to_four_places_and_finds_the_right_neighbours(made, minilm) -> None:
    pairs = {
        "How do I get a refund?": "Money is paid back within two weeks after the goods were returned.",
        "Who painted the ceiling?": "Michelangelo worked on the vault of the chapel for four years.",
        "What is the boiling point of water?": "At sea level it turns to steam at one hundred degrees.",
        "Is the shop open on Sunday?": "We are closed at weekends and on public holidays.",
        "My laptop does not start.": "Hold the power button for ten seconds, then plug in the charger.",
    }
    embedder = made(TransformersEmbedder, minilm)
    passages = await embedder.embed(EmbedRequest(texts=tuple(pairs.values())))
    queries = await embedder.embed(EmbedRequest(texts=tuple(pairs), kind="query"))
    assert passages.dimension == 384
    cosines = rows_of(queries) @ rows_of(passages).T
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    texts = (*pairs, *pairs.values(), "word " * 500)
    found = await embedder.embed(EmbedRequest(texts=texts))
    assert np.abs(rows_of(found) - reference(minilm, texts, tokens_max=256)).max() < 1e-4
    assert np.abs(np.linalg.norm(rows_of(found), axis=1) - 1.0).max() < 1e-5


async def test_scores_are_in_order_and_the_same_in_a_batch_as_alone(made, cross_encoder) -> None:
    reranker = made(TransformersReranker, cross_encoder)
    query = "what was built of iron"
    found = await reranker.rerank(RerankRequest(query=query, texts=TEXTS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(cross_encoder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    expected = []
    for text in TEXTS:
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        with torch.no_grad():
            coded = tokenizer([query], [text], truncation=True, max_length=64, return_tensors="pt")
            expected.append(torch.sigmoid(model(**coded).logits[0, 0]).item())
    assert np.abs(np.array(found.scores) - np.array(expected)).max() < 1e-5
    assert max(expected) - min(expected) > 0.01  # else all of this says nothing
    with pytest.raises(TooLarge):
        await reranker.rerank(RerankRequest(query=query, texts=("iron",) * 201))
    assert (await reranker.rerank(RerankRequest(query=query, texts=()))).scores == ()


async def test_two_labels_are_no_and_yes(made, tmp_path) -> None:
    folder = make_encoder(tmp_path, labels=2)
    found = await made(TransformersReranker, folder).rerank(RerankRequest(query="iron", texts=("the bridge",)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = torch.softmax(model(**tokenizer("iron", "the bridge", return_tensors="pt")).logits, dim=1)[0, 1].item()
    assert found.scores[0] == pytest.approx(expected, abs=1e-6)


async def test_a_model_that_is_none_for_the_role_is_refused_and_not_filled_with_random_numbers(made, encoder, tmp_path) -> None:
    with pytest.raises(EngineFailed, match=r"lacks the weights classifier\.bias, classifier\.weight"):
        made(TransformersReranker, encoder)
    with pytest.raises(EngineFailed, match="has 3 labels; a reranker has 1, or 2"):
        made(TransformersReranker, make_encoder(tmp_path / "three", labels=3))


async def test_a_pickle_a_cut_file_and_an_empty_folder_are_refused_in_words(made, encoder, tmp_path) -> None:
    with pytest.raises(EngineFailed, match=r"expected a folder with a config\.json"):
        made(TransformersEmbedder, tmp_path)
    cut, pickled = tmp_path / "cut", tmp_path / "pickled"
    for folder in (cut, pickled):
        shutil.copytree(encoder, folder)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(EngineFailed, match="cut could not be loaded"):
        made(TransformersEmbedder, cut)
    torch.save(transformers.AutoModel.from_pretrained(encoder).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(EngineFailed, match="pickled could not be loaded"):
        made(TransformersEmbedder, pickled)


async def test_a_full_line_of_texts_says_busy_and_when_by_what_batches_took(made, minilm) -> None:
    embedder = made(TransformersEmbedder, minilm, queue=1)
    batch_s = []
    for _ in range(9):
        began = time.monotonic()
        await embedder.embed(EmbedRequest(texts=("the bridge was built of iron " * 10,) * 16))
        batch_s.append(time.monotonic() - began)
    await eventually(lambda: embedder.figures().queue == 0)
    long = EmbedRequest(texts=("the bridge was built of iron " * 20,) * 96)
    calls = [asyncio.create_task(embedder.embed(long)) for _ in range(2)]
    await eventually(lambda: embedder.figures().queue == 2)
    with pytest.raises(Busy) as refused:
        await embedder.embed(long)
    # The first guess was 2 s a batch; by now it is what the last ones took, for the one that waits and the one in hand.
    assert 0.1 * min(batch_s) < refused.value.retry_after_s / 2 < max(batch_s) + 0.2
    assert [answer.count for answer in await asyncio.gather(*calls)] == [96, 96]
