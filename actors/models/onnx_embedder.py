"""Embeddings by ONNX Runtime: graphs that take strings (their tokenizer is an operator), and graphs that take token ids."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from actors.models.batching import PASSAGE, QUERY, TEXTS_MAX, batches, cleaned, run_batches
from actors.models.inference_thread import InferenceThread
from actors.models.protocols import EngineFigures
from actors.models.speed import Speed
from perenne.errors import EngineFailed, TooLarge
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.settings import ModelSettings

ENGINE = "onnx"
_TOKENS_MAX = 256  # all-MiniLM-L6-v2's own sequence length
_CHARS_A_TOKEN = 4.0  # a rough figure for graphs that hide their tokens

Rows = npt.NDArray[np.float32]


def threads_of(settings: ModelSettings) -> int:
    """Those that are set, else half of the cores: the others are the language model's."""
    return settings.threads or max(1, (os.cpu_count() or 1) // 2)


def helpers_of(settings: ModelSettings) -> int:
    """Two threads for passages, on what is idle of all cores, so that a question has one to itself; none where the owner said how many
    there are."""
    return 2 * int(settings.threads is None and (os.cpu_count() or 1) > 1)


class OnnxEmbedder:
    """See `Embedder`. `files`: the graph first, its tokenizer.json second where `layout` is tokens. Blocks while it loads."""

    def __init__(
        self, space: str, dimension: int, layout: Literal["sentences", "tokens"], files: Sequence[Path], settings: ModelSettings
    ) -> None:
        import onnxruntime

        self.space, self.dimension = space, dimension
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads_of(settings)
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # else the largest batch ever seen stays in memory
        try:
            if layout == "sentences":
                from onnxruntime_extensions import get_library_path

                options.register_custom_ops_library(get_library_path())
            self._session: Any = onnxruntime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
            self._tokenizer: Any = None if layout == "sentences" else _tokenizer(files[1])
        except Exception as error:
            raise EngineFailed(ENGINE, f"{files[0].name} could not be loaded: {error}") from error
        self._thread = InferenceThread(ENGINE, settings.queue, helpers_of(settings), helped_from=PASSAGE)
        self._speed = Speed(units_min=16)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embedder.embed`."""
        if len(request.texts) > TEXTS_MAX:
            raise TooLarge("the list of texts", len(request.texts), TEXTS_MAX)
        texts = [cleaned(text) for text in request.texts]
        rows = np.zeros((len(texts), self.dimension), dtype="<f4")
        tokens = 0
        priority = QUERY if request.kind == "query" else PASSAGE
        wanted = batches([len(text) for text in texts])
        async for batch, answer in run_batches(
            self._thread, wanted, priority, lambda batch: self._run([texts[n] for n in batch])
        ):
            rows[list(batch)] = answer[0]
            tokens += answer[1]
        return Embeddings(space=self.space, dimension=self.dimension, count=len(texts), data=rows.tobytes(), tokens=tokens)

    def _run(self, texts: list[str]) -> tuple[Rows, int]:
        """In the inference thread: unit vectors of one batch, and its tokens."""
        began = time.monotonic()
        if self._tokenizer is None:
            rows = self._session.run(["outputs"], {"inputs": np.array(texts, dtype=object)})[0]
            tokens = int(sum(len(text) for text in texts) / _CHARS_A_TOKEN) + len(texts)
        else:
            rows, tokens = self._run_tokens(texts)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all():
            raise EngineFailed(ENGINE, "the graph returned numbers that are not finite")
        self._speed.add(tokens, time.monotonic() - began)
        return (rows / np.maximum(lengths, 1e-12)).astype("<f4"), tokens

    def _run_tokens(self, texts: list[str]) -> tuple[Rows, int]:
        coded = self._tokenizer.encode_batch(texts)
        ids = np.array([code.ids for code in coded], dtype=np.int64)
        mask = np.array([code.attention_mask for code in coded], dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {given.name for given in self._session.get_inputs()}
        hidden = self._session.run(None, {name: feed for name, feed in feeds.items() if name in wanted})[0]
        if hidden.ndim == 2:  # the graph pools by itself
            return hidden, int(mask.sum())
        weights = mask[:, :, None].astype(np.float32)
        return (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9), int(mask.sum())

    def figures(self) -> EngineFigures:
        return self._thread.figures(self._speed.per_s)

    def close(self) -> None:
        """See `Embedder.close`."""
        self._thread.close()
        self._session = None


def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(_TOKENS_MAX)
    tokenizer.enable_padding()
    return tokenizer
