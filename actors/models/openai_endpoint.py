"""Any OpenAI-compatible endpoint, for text and for embeddings. Chosen by the owner: what is asked leaves this process."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import numpy as np

from actors.models.protocols import SIGN_OF_LIFE_S, EngineFigures
from actors.models.speed import Speed
from perenne.errors import Busy, ConfigurationError, EngineFailed, InvalidRequest
from perenne.messages.models import Embeddings, EmbedRequest, GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from perenne.settings import ModelSettings

ENGINE = "openai"
_TIMEOUT = httpx.Timeout(connect=5.0, read=120.0, write=30.0, pool=5.0)  # read: silence, a long prompt included
_CHARS_A_TOKEN = 3.2  # counted on the side of too many; the endpoint has no call for it
_TEXTS_A_CALL = 64
_FINISH = {"length": "length", "tool_calls": "tool_calls"}


class _Endpoint:
    """Its connection, the bound on what is asked at once, and its errors in our words."""

    def __init__(self, settings: ModelSettings) -> None:
        if not settings.url:
            raise ConfigurationError("url: expected the base URL of an OpenAI-compatible endpoint, got none")
        self._model, self._queue_max = settings.model, settings.queue
        key = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._http = httpx.AsyncClient(base_url=settings.url.rstrip("/") + "/", headers=key, timeout=_TIMEOUT)
        self._open = 0
        self._moved_at = time.monotonic()
        self._speed = Speed(units_min=8)

    def enter(self) -> None:
        if self._open > self._queue_max:
            raise Busy(f"the endpoint ({self._open} requests are open)", 2.0)
        self._open += 1
        self._moved_at = time.monotonic()

    def leave(self) -> None:
        self._open -= 1
        self._moved_at = time.monotonic()

    def figures(self) -> EngineFigures:
        since = time.monotonic() - self._moved_at
        return EngineFigures(
            queue=self._open,
            progress_age_s=0.0,  # its silence has a timeout of its own
            idle_s=0.0 if self._open else since,
            tokens_per_s=self._speed.per_s,
        )

    def close(self) -> None:
        """Nothing is held but idle connections, which end with the process or when the endpoint drops them."""


async def _raise_for(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    words = (await answer.aread()).decode("utf-8", "replace")[:400]
    if answer.status_code in (408, 429, 503):
        after = answer.headers.get("Retry-After", "")
        raise Busy("the endpoint", float(after) if after.replace(".", "", 1).isdigit() else 2.0)
    if answer.status_code in (400, 413, 422):
        raise InvalidRequest(f"the endpoint refused: HTTP {answer.status_code}: {words}")
    raise EngineFailed(ENGINE, f"HTTP {answer.status_code}: {words}")


class OpenAILanguage(_Endpoint):
    """See `LanguageModel`. The protocol has no way to go on from a text, so that it can't."""

    can_continue = False

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self.context_tokens: int | None = settings.context_tokens

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """See `LanguageModel.stream`."""
        if request.prefix:
            raise InvalidRequest("prefix: an OpenAI-compatible endpoint can't go on from a text", "prefix")
        self.enter()
        chunks: asyncio.Queue[GenerateChunk | BaseException | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(request, chunks))
        started = False
        try:
            while True:
                try:
                    async with asyncio.timeout(SIGN_OF_LIFE_S):  # wait_for of 3.11 may swallow a cancel
                        chunk = await chunks.get()
                except TimeoutError:
                    chunk = GenerateChunk(prompt_progress=None if started else 0.0)
                if chunk is None:
                    return
                if isinstance(chunk, BaseException):
                    raise chunk
                started = started or bool(chunk.text)
                yield chunk
        finally:
            reading.cancel()  # drops the connection: the endpoint sees it
            await asyncio.gather(reading, return_exceptions=True)
            self.leave()

    async def _read(self, request: GenerateRequest, chunks: asyncio.Queue[GenerateChunk | BaseException | None]) -> None:
        try:
            async for chunk in self._chunks(request):
                chunks.put_nowait(chunk)
        except httpx.HTTPError as error:
            chunks.put_nowait(EngineFailed(ENGINE, f"{self._http.base_url}: {error!r}"))
        except Exception as error:
            chunks.put_nowait(error)
        chunks.put_nowait(None)

    async def _chunks(self, request: GenerateRequest) -> AsyncIterator[GenerateChunk]:
        finish: Any = None
        usage: Usage | None = None
        began = time.monotonic()
        path = "chat/completions" if request.prompt is None else "completions"
        async with self._http.stream("POST", path, json=self._body(request)) as answer:
            await _raise_for(answer)
            async for line in answer.aiter_lines():
                if not line.startswith("data:") or (data := line[5:].strip()) == "[DONE]":
                    continue
                piece = _parsed(data)
                for choice in piece.get("choices") or ():
                    delta = choice.get("delta") or {}
                    text, calls = delta.get("content") or choice.get("text") or "", tuple(delta.get("tool_calls") or ())
                    if text or calls:
                        yield GenerateChunk(text=text, tool_calls=calls, logprobs=choice.get("logprobs"))
                    finish = choice.get("finish_reason") or finish
                usage = _usage(piece) or usage
        if finish is None:
            raise EngineFailed(ENGINE, "the answer broke off without an end")
        if usage is not None:
            self._speed.add(usage.completion_tokens, time.monotonic() - began)
        yield GenerateChunk(finish_reason=_FINISH.get(finish, "stop"), usage=usage)  # pyright: ignore[reportArgumentType]

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        optional = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "grammar": request.grammar,
        }
        messages = [{"role": message.role, "content": message.content, **message.more} for message in request.messages]
        return {
            **request.extra,
            "model": self._model,
            **({"messages": messages} if request.prompt is None else {"prompt": request.prompt}),
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in optional.items() if value is not None},
        }

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """An estimate on the side of too many: the endpoint has no call for it."""
        return tuple(int(len(text) / _CHARS_A_TOKEN) + 1 if text else 0 for text in texts)


def _parsed(data: str) -> dict[str, Any]:
    try:
        piece = json.loads(data)
    except ValueError as error:
        raise EngineFailed(ENGINE, f"expected JSON in the stream, got {data[:80]!r}") from error
    if isinstance(piece, dict) and piece.get("error"):
        raise EngineFailed(ENGINE, str(piece["error"])[:400])
    return piece


def _usage(piece: dict[str, Any]) -> Usage | None:
    found = piece.get("usage")
    if not found:
        return None
    return Usage(
        prompt_tokens=int(found.get("prompt_tokens") or 0),
        completion_tokens=int(found.get("completion_tokens") or 0),
        cached_tokens=int((found.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
    )


class OpenAIEmbedder(_Endpoint):
    """See `Embedder`. The dimension is what the endpoint first answers."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self.space = settings.space
        self.dimension = 0

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embedder.embed`."""
        self.enter()
        try:
            pieces: list[bytes] = []
            tokens = 0
            for start in range(0, len(request.texts), _TEXTS_A_CALL):
                texts = request.texts[start : start + _TEXTS_A_CALL]
                rows, used = await self._call(texts)
                pieces.append(rows)
                tokens += used
        except httpx.HTTPError as error:
            raise EngineFailed(ENGINE, f"{self._http.base_url}: {error!r}") from error
        finally:
            self.leave()
        return Embeddings(
            space=self.space, dimension=self.dimension, count=len(request.texts), data=b"".join(pieces), tokens=tokens
        )

    async def _call(self, texts: tuple[str, ...]) -> tuple[bytes, int]:
        asked = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        answer = await self._http.post("embeddings", json=asked)
        await _raise_for(answer)
        try:
            found = answer.json()
            items = sorted(found["data"], key=lambda item: item["index"])
            rows = np.array([item["embedding"] for item in items], dtype="<f4")
        except (ValueError, KeyError, TypeError) as error:
            raise EngineFailed(ENGINE, f"expected a list of embeddings, got {answer.text[:80]!r}") from error
        if rows.ndim != 2 or len(rows) != len(texts) or (self.dimension and rows.shape[1] != self.dimension):
            raise EngineFailed(
                ENGINE, f"expected {len(texts)} vectors of {self.dimension or 'one'} dimension, got {rows.shape}"
            )
        self.dimension = int(rows.shape[1])
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows.astype("<f4").tobytes(), int((found.get("usage") or {}).get("prompt_tokens") or 0)
