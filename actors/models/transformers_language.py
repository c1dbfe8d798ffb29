"""Text by `transformers`: any causal language model of the hub's, from a folder or by hub id, through the library's own `generate`."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.models.inference_thread import InferenceThread, Job
from actors.models.protocols import EngineFigures
from actors.models.speed import Speed
from actors.models.stops import Stops
from actors.models.transformers_asking import checked, prompt_of, settings_of
from actors.models.transformers_weights import ENGINE, Loaded, length_max, load
from perenne.errors import InvalidRequest
from perenne.messages.models import GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from perenne.settings import ModelSettings

_PROMPT_STEP = {"cpu": 64, "cuda": 1024}  # tokens of a prompt read at once: a cancel is seen between two steps
_KEPT_MIN = 16  # tokens that a prompt must share with the one before it, for what was computed of them to be used again
_BEFORE = 64  # tokens of the prompt that the first words are decoded after


class _Left(Exception):
    """The reader left."""


@dataclass(slots=True)
class _Past:
    """What the model remembers of the last text: its tokens, and the cache computed of the first of them."""

    ids: list[int]
    cache: Any


class TransformersLanguage:
    """See `LanguageModel`. `files` as `Origin.of` takes them. Blocks while it loads; EngineFailed when it can't."""

    can_continue = True

    def __init__(self, settings: ModelSettings, files: Sequence[Path]) -> None:
        self._loaded: Loaded = load("AutoModelForCausalLM", settings, files, threads=max(1, (os.cpu_count() or 1) - 1))
        self.context_tokens: int | None = length_max(self._loaded, settings.context_tokens)
        self._past: _Past | None = None
        self._thread = InferenceThread(ENGINE, settings.queue)
        self._prompt_speed, self._speed = Speed(units_min=64), Speed(units_min=8)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """See `LanguageModel.stream`."""
        checked(request)
        answer = _Answer(self, request)
        job: Job[GenerateChunk] = self._thread.submit(answer.generate)
        items = job.items()
        try:
            async for chunk in items:
                yield chunk if chunk is not None else GenerateChunk(prompt_progress=answer.prompt_progress)
        finally:
            await items.aclose()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """See `LanguageModel.count_tokens`."""
        tokenizer = (
            self._loaded.tokenizer.backend_tokenizer
        )  # the wrapper sets padding as it goes: not while the thread uses it
        coded = await asyncio.to_thread(tokenizer.encode_batch, list(texts), add_special_tokens=False)
        return tuple(len(one.ids) for one in coded)

    def figures(self) -> EngineFigures:
        return self._thread.figures(self._prompt_speed.per_s, self._speed.per_s)

    def close(self) -> None:
        """See `LanguageModel.close`."""
        self._thread.close()
        self._past = None
        self._loaded.free()

    # For one answer, in the inference thread

    @property
    def loaded(self) -> Loaded:
        return self._loaded

    def taken_past(self, ids: list[int]) -> tuple[Any, int]:
        """A cache to go on from, and how many tokens it holds: what is left of the last text where the prompt begins like it. None
        where the model keeps another kind of state. Whoever takes it gives it back by `keep`, or it is gone."""
        past, self._past = self._past, None
        model = self._loaded.model
        if not model._supports_default_dynamic_cache():
            return None, 0
        if past is not None:
            shared = next(
                (n for n, (a, b) in enumerate(zip(past.ids, ids, strict=False)) if a != b), min(len(past.ids), len(ids))
            )
            shared = min(shared, len(ids) - 1)  # the last token is read in any case: what follows is decided by it
            held = past.cache.get_seq_length()
            if shared >= _KEPT_MIN and (shared >= held or past.cache.is_croppable):
                past.cache.crop(min(0, shared - held))
                return past.cache, min(shared, held)
        config = model.config.get_text_config(decoder=True)
        return self._loaded.packages.transformers.DynamicCache(config=config), 0

    def keep(self, ids: list[int], cache: Any) -> None:
        """The next prompt may begin like this."""
        if cache is not None:
            self._past = _Past(ids[: cache.get_seq_length()], cache)

    def measured(self, *, prompt_tokens: int, prompt_s: float, tokens: int, tokens_s: float) -> None:
        self._prompt_speed.add(prompt_tokens, prompt_s)
        self._speed.add(tokens, tokens_s)


class _Answer:
    """One answer as the library writes it: it calls `put` with each token, and the model calls `_on_forward` before each step."""

    def __init__(self, engine: TransformersLanguage, request: GenerateRequest) -> None:
        self._engine, self._request = engine, request
        self.prompt_progress: float | None = 0.0  # None once text comes
        self._stops = Stops(request.stop)
        self._ids: list[int] = []  # prompt and answer
        self._prompt_tokens = self._cached = self._read = 0
        self._job: Job[GenerateChunk] | None = None
        self._decoder: Any = None
        self._has_begun = False  # the library gave the prompt back
        self._first_at = 0.0  # when the first token came

    def generate(self, job: Job[GenerateChunk]) -> None:
        """In the inference thread: returns at the end, or before the next step after the job was cancelled."""
        loaded, request = self._engine.loaded, self._request
        torch = loaded.packages.torch
        self._job = job
        self._ids = prompt_of(request, loaded.tokenizer)
        self._prompt_tokens = len(self._ids)
        context = self._engine.context_tokens or 0
        if self._prompt_tokens >= context:
            raise InvalidRequest(f"the prompt has {self._prompt_tokens} tokens; the context size is {context}")
        tokens_max = min(request.max_tokens or context, context - self._prompt_tokens)
        cache, self._cached = self._engine.taken_past(self._ids)
        config = settings_of(request, loaded.model.generation_config, tokens_max)
        config.prefill_chunk_size = None if cache is None else _PROMPT_STEP[loaded.device]
        self._decoder = _decoder(loaded.tokenizer, self._ids[-_BEFORE:])
        ids = torch.tensor([self._ids], device=loaded.device)
        self._seed(torch)
        hook = loaded.model.register_forward_pre_hook(self._on_forward, with_kwargs=True)
        began = time.monotonic()
        more = {} if cache is None else {"cache": cache}
        try:
            with torch.inference_mode():
                loaded.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    generation_config=config,
                    streamer=self,
                    stopping_criteria=loaded.packages.transformers.StoppingCriteriaList([self._is_over]),
                    **more,
                )
        except _Left:
            self._engine.keep(self._ids, cache)
            job.emit(GenerateChunk(finish_reason="cancelled", usage=self._usage()))
            return
        finally:
            hook.remove()
        self._engine.keep(self._ids, cache)
        self._end(config, began, job)

    def _seed(self, torch: Any) -> None:
        if self._request.seed is None:
            torch.seed()
        else:
            torch.manual_seed(self._request.seed % (1 << 63))

    def _on_forward(self, _model: Any, _positional: Any, given: dict[str, Any]) -> None:
        """Before each step: a stretch of the prompt, or one token."""
        job = self._job
        if job is None or job.cancelled.is_set():
            raise _Left
        job.moved()
        if self.prompt_progress is not None:
            self.prompt_progress = (self._cached + self._read) / self._prompt_tokens
            self._read += int(given["input_ids"].shape[-1])
            job.emit(GenerateChunk(prompt_progress=self.prompt_progress))

    def _is_over(self, ids: Any, _scores: Any, **_more: Any) -> Any:
        return ids.new_full(
            (ids.shape[0],), self._stops.found or self._cancelled, dtype=self._engine.loaded.packages.torch.bool
        )

    @property
    def _cancelled(self) -> bool:
        return self._job is not None and self._job.cancelled.is_set()

    def put(self, tokens: Any) -> None:
        """The library's streamer: first the prompt, which is ours, then each token."""
        if not self._has_begun:
            self._has_begun = True
            return
        self._first_at = self._first_at or time.monotonic()
        for token in tokens.flatten().tolist():
            self._ids.append(token)
            self._tell(self._decoder(token))

    def end(self) -> None:
        """The library's streamer: nothing is held that `_end` does not tell."""

    def _tell(self, text: str | None) -> None:
        told = self._stops.take(text) if text else ""
        self.prompt_progress = None
        if told and self._job is not None:
            self._job.emit(GenerateChunk(text=told))

    def _usage(self) -> Usage:
        written = len(self._ids) - self._prompt_tokens
        return Usage(prompt_tokens=self._prompt_tokens, completion_tokens=written, cached_tokens=self._cached)

    def _end(self, config: Any, began: float, job: Job[GenerateChunk]) -> None:
        if self._cancelled:
            job.emit(GenerateChunk(finish_reason="cancelled", usage=self._usage()))
            return
        first_at, now = self._first_at or time.monotonic(), time.monotonic()
        self._engine.measured(
            prompt_tokens=self._prompt_tokens - self._cached,
            prompt_s=first_at - began,
            tokens=len(self._ids) - self._prompt_tokens - 1,
            tokens_s=now - first_at,
        )
        ended = config.eos_token_id
        ends = set(ended if isinstance(ended, list | tuple) else [ended])
        stopped = self._stops.found or self._ids[-1] in ends
        if rest := self._stops.rest():
            job.emit(GenerateChunk(text=rest))
        job.emit(GenerateChunk(finish_reason="stop" if stopped else "length", usage=self._usage()))


def _decoder(tokenizer: Any, before: Sequence[int]) -> Any:
    """A function from the next token to the text that it completes, None in the middle of a character."""
    from tokenizers.decoders import DecodeStream

    stream, backend = DecodeStream(ids=list(before), skip_special_tokens=True), tokenizer.backend_tokenizer
    return lambda token: stream.step(backend, token)
