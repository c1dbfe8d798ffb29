"""Reranking by `transformers`: a cross-encoder reads the query and a passage together and says how well they fit."""

import time
from collections.abc import Sequence
from pathlib import Path

from actors.models.batching import BATCH_CHARS, BATCH_TEXTS, QUERY, batches, cleaned, run_batches
from actors.models.inference_thread import InferenceThread
from actors.models.protocols import EngineFigures
from actors.models.speed import Speed
from actors.models.transformers_embedder import GPU_BATCH
from actors.models.transformers_weights import ENGINE, Loaded, length_max, load
from perenne import names
from perenne.errors import EngineFailed, TooLarge
from perenne.messages.models import RerankRequest, RerankScores
from perenne.settings import ModelSettings


class TransformersReranker:
    """See `Reranker`. One label: its logistic is the score; two: the likelihood of the second."""

    def __init__(self, settings: ModelSettings, files: Sequence[Path]) -> None:
        self._loaded: Loaded = load("AutoModelForSequenceClassification", settings, files)
        labels = int(self._loaded.model.config.num_labels)
        if labels not in (1, 2):
            raise EngineFailed(ENGINE, f"{self._loaded.origin.name} has {labels} labels; a reranker has 1, or 2")
        tokenizer = self._loaded.tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if self._loaded.model.config.pad_token_id is None:
            self._loaded.model.config.pad_token_id = tokenizer.pad_token_id
        self._tokens_max = length_max(self._loaded, settings.context_tokens)
        self._thread = InferenceThread(ENGINE, settings.queue)
        self._speed = Speed(units_min=16)

    async def rerank(self, request: RerankRequest) -> RerankScores:
        """See `Reranker.rerank`."""
        if len(request.texts) > names.RERANK_TEXTS_MAX:
            raise TooLarge("the list of texts", len(request.texts), names.RERANK_TEXTS_MAX)
        query, texts = cleaned(request.query), [cleaned(text) for text in request.texts]
        scores, tokens = [0.0] * len(texts), 0
        times = GPU_BATCH if self._loaded.device == "cuda" else 1
        wanted = batches([len(query) + len(text) for text in texts], BATCH_TEXTS * times, BATCH_CHARS * times)
        async for batch, answer in run_batches(
            self._thread, wanted, QUERY, lambda batch: self._run(query, [texts[n] for n in batch])
        ):
            for place, score in zip(batch, answer[0], strict=True):
                scores[place] = score
            tokens += answer[1]
        return RerankScores(scores=tuple(scores), tokens=tokens)

    def _run(self, query: str, texts: list[str]) -> tuple[list[float], int]:
        """In the inference thread: scores of one batch, and its tokens."""
        began = time.monotonic()
        torch, device = self._loaded.packages.torch, self._loaded.device
        coded = self._loaded.tokenizer(
            [query] * len(texts), texts, padding=True, truncation=True, max_length=self._tokens_max, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            logits = self._loaded.model(**coded).logits.double()  # single precision has no more steps near 1
            likely = torch.sigmoid(logits[:, 0]) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)[:, 1]
        if not torch.isfinite(likely).all():
            raise EngineFailed(ENGINE, "the model returned numbers that are not finite")
        tokens = int(coded["attention_mask"].sum())
        self._speed.add(tokens, time.monotonic() - began)
        return likely.cpu().tolist(), tokens

    def figures(self) -> EngineFigures:
        return self._thread.figures(self._speed.per_s)

    def close(self) -> None:
        """See `Reranker.close`."""
        self._thread.close()
        self._loaded.free()
