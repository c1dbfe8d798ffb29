"""Embeddings by `transformers`: any encoder of the hub's sentence embedders, from a folder or by hub id."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.models.batching import BATCH_CHARS, BATCH_TEXTS, PASSAGE, QUERY, TEXTS_MAX, batches, cleaned, run_batches
from actors.models.inference_thread import InferenceThread
from actors.models.protocols import EngineFigures
from actors.models.speed import Speed
from actors.models.transformers_weights import ENGINE, Loaded, Origin, Packages, length_max, load
from perenne.errors import EngineFailed, TooLarge
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.settings import ModelSettings

GPU_BATCH = 8  # a GPU is given so many times what a CPU is given at once
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}  # sentence-transformers' names
_PASSAGE_PROMPTS = ("document", "passage")  # what models call the words before a passage

Rows = npt.NDArray[np.float32]


def pooling_of(origin: Origin, packages: Packages) -> str:
    """`mean` or `cls`, as the model's own pooling file says; mean where it has none."""
    said = origin.said(packages, "1_Pooling/config.json")
    chosen = [name for name, value in said.items() if name.startswith("pooling_mode_") and value is True]
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in _POOLINGS:
        raise EngineFailed(ENGINE, f"{origin.name} pools by {' and '.join(chosen)}; expected one of {', '.join(_POOLINGS)}")
    return _POOLINGS[chosen[0]]


def prompts_of(origin: Origin, packages: Packages) -> dict[str, str]:
    """The words that the model wants before a query and before a passage; none for most."""
    said: dict[str, str] = origin.said(packages, "config_sentence_transformers.json").get("prompts") or {}
    passage = next((said[name] for name in _PASSAGE_PROMPTS if name in said), "")
    return {"query": said.get("query", ""), "passage": passage}


class TransformersEmbedder:
    """See `Embedder`. `files` as `Origin.of` takes them. Blocks while it loads; EngineFailed when it can't."""

    def __init__(self, settings: ModelSettings, files: Sequence[Path]) -> None:
        self._loaded: Loaded = load("AutoModel", settings, files, may_lack=lambda name: "pooler" in name)
        origin, packages = self._loaded.origin, self._loaded.packages
        self._pooling, self._prompts = pooling_of(origin, packages), prompts_of(origin, packages)
        told = origin.said(packages, "sentence_bert_config.json").get("max_seq_length")
        self._tokens_max = length_max(self._loaded, told, settings.context_tokens)
        self.space, self.dimension = settings.space, int(self._loaded.model.config.hidden_size)
        self._thread = InferenceThread(ENGINE, settings.queue)
        self._speed = Speed(units_min=16)

    @property
    def loaded(self) -> Loaded:
        """The model itself, for measurements."""
        return self._loaded

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embedder.embed`."""
        if len(request.texts) > TEXTS_MAX:
            raise TooLarge("the list of texts", len(request.texts), TEXTS_MAX)
        texts = [cleaned(self._prompts[request.kind] + text) for text in request.texts]
        rows = np.zeros((len(texts), self.dimension), dtype="<f4")
        tokens = 0
        priority = QUERY if request.kind == "query" else PASSAGE
        times = GPU_BATCH if self._loaded.device == "cuda" else 1
        wanted = batches([len(text) for text in texts], BATCH_TEXTS * times, BATCH_CHARS * times)
        async for batch, answer in run_batches(
            self._thread, wanted, priority, lambda batch: self._run([texts[n] for n in batch])
        ):
            rows[list(batch)] = answer[0]
            tokens += answer[1]
        return Embeddings(space=self.space, dimension=self.dimension, count=len(texts), data=rows.tobytes(), tokens=tokens)

    def _run(self, texts: list[str]) -> tuple[Rows, int]:
        """In the inference thread: unit vectors of one batch, and its tokens."""
        began = time.monotonic()
        torch, device = self._loaded.packages.torch, self._loaded.device
        coded = self._loaded.tokenizer(
            texts, padding=True, truncation=True, max_length=self._tokens_max, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            pooled = self._pooled(self._loaded.model(**coded).last_hidden_state.float(), coded["attention_mask"])
            rows = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        if not np.isfinite(rows).all():
            raise EngineFailed(ENGINE, "the model returned numbers that are not finite")
        tokens = int(coded["attention_mask"].sum())
        self._speed.add(tokens, time.monotonic() - began)
        return rows.astype("<f4"), tokens

    def _pooled(self, hidden: Any, mask: Any) -> Any:
        if self._pooling == "cls":
            return hidden[:, 0]
        weights = mask.unsqueeze(-1).float()
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)

    def figures(self) -> EngineFigures:
        return self._thread.figures(self._speed.per_s)

    def close(self) -> None:
        """See `Embedder.close`."""
        self._thread.close()
        self._loaded.free()
