"""llama.cpp in this process, through xllamacpp: its own server without the network between."""

import json
import os
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx

from actors.models.forced_call import CallTold, ForcedCall
from actors.models.inference_thread import InferenceThread, Job
from actors.models.openmp import provide_openmp
from actors.models.protocols import EngineFigures
from actors.models.speed import Speed
from perenne.errors import EngineFailed, InvalidRequest, PerenneError
from perenne.messages.models import GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from perenne.settings import ModelSettings

ENGINE = "llama_cpp"
# Fields of OpenAI's request, and of llama.cpp's, that are passed on as they are.
PASSED_ON = (
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "top_k",
    "min_p",
    "repeat_penalty",
)
_BATCH_TOKENS = 64  # a cancel is seen between two batches: at 2048 it took 11.8 s, at 64-128 0.3 s
_PREFIX_CACHE_MIB = 256  # prompts of other conversations kept in RAM beside the one in the slot
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}
_BAD_REQUEST = 400
_NOT_OF_CALLS = ("response_format", "parallel_tool_calls", "stop", "logprobs", "top_logprobs")  # they are of text
_TOKENIZE_S = 10.0


class LlamaCpp:
    """See `LanguageModel`. The constructor blocks while the weights load; EngineFailed when they can't be."""

    can_continue = True

    def __init__(self, path: Path, settings: ModelSettings) -> None:
        # Threads that spin while they wait starve on a shared CPU. Read by libgomp when it is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        provide_openmp(ENGINE)
        from importlib import import_module

        xllamacpp: Any = import_module("xllamacpp")

        _read_ahead(path)
        self.context_tokens: int | None = settings.context_tokens
        self._key = secrets.token_urlsafe(32)  # llama.cpp opens a loopback port that would answer anyone
        try:
            self.server: Any = xllamacpp.Server(self._parameters(xllamacpp, path, settings))
        except Exception as error:
            raise EngineFailed(ENGINE, f"{path.name} could not be loaded: {error}") from error
        self._http = httpx.AsyncClient(
            base_url=self.server.listening_address, headers={"Authorization": f"Bearer {self._key}"}, timeout=_TOKENIZE_S
        )
        self._tools_told: bool | None = None
        self._thread = InferenceThread(ENGINE, settings.queue)
        self._prompt_speed, self._speed = Speed(units_min=64), Speed(units_min=8)

    def _parameters(self, xllamacpp: Any, path: Path, settings: ModelSettings) -> Any:
        """One slot: two answers at once would each take twice as long."""
        asked = xllamacpp.CommonParams()
        asked.model.path = str(path)
        asked.n_ctx = settings.context_tokens
        asked.n_parallel = 1
        asked.n_batch = asked.n_ubatch = _BATCH_TOKENS
        asked.cache_ram_mib = _PREFIX_CACHE_MIB
        cores = os.cpu_count() or 1
        threads = settings.threads or max(1, cores - 1)
        asked.cpuparams.n_threads = threads
        asked.cpuparams_batch.n_threads = settings.threads or cores
        asked.cpuparams.poll = asked.cpuparams_batch.poll = 0
        asked.n_gpu_layers = 0
        asked.hostnames = ["127.0.0.1"]
        asked.port = 0
        asked.api_keys = [self._key]
        asked.endpoint_slots = asked.endpoint_props = asked.endpoint_metrics = False
        asked.ui = False
        asked.verbosity = -1
        asked.warmup = False
        asked.fit_params = False  # fits a model to a GPU's memory by loading it twice; there is none, and the sizes are ours
        return asked

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """See `LanguageModel.stream`."""
        forced = ForcedCall.of(request.extra)
        body = body_of(request) if forced is None else bound_to(forced, body_of(request), await self._tells_of_tools())
        answer = _Answer(body, self._prompt_speed, self._speed, None if forced is None else CallTold())
        job: Job[GenerateChunk] = self._thread.submit(lambda job: answer.generate(self.server, job))
        items = job.items()
        try:
            async for chunk in items:
                yield chunk if chunk is not None else GenerateChunk(prompt_progress=answer.prompt_progress)
        finally:
            await items.aclose()

    async def _tells_of_tools(self) -> bool:
        """Whether the model's chat template tells it of the tools that a request has."""
        if self._tools_told is None:
            mark = f"tool_{secrets.token_hex(4)}"
            function = {"name": mark, "description": "", "parameters": {"type": "object", "properties": {}}}
            asked = {"messages": [{"role": "user", "content": "-"}], "tools": [{"type": "function", "function": function}]}
            try:
                answer = await self._http.post("/apply-template", json=asked)
                self._tools_told = mark in answer.raise_for_status().json()["prompt"]
            except httpx.HTTPError as error:
                raise EngineFailed(ENGINE, f"the chat template was not applied: {error!r}") from error
        return self._tools_told

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """See `LanguageModel.count_tokens`."""
        counts: list[int] = []
        try:
            for text in texts:
                answer = await self._http.post("/tokenize", json={"content": text, "add_special": False})
                counts.append(len(answer.raise_for_status().json()["tokens"]))
        except httpx.HTTPError as error:
            raise EngineFailed(ENGINE, f"tokens were not counted: {error!r}") from error
        return tuple(counts)

    def figures(self) -> EngineFigures:
        return self._thread.figures(self._prompt_speed.per_s, self._speed.per_s)

    def close(self) -> None:
        """See `LanguageModel.close`."""
        self._thread.close()
        self.server = None  # its destructor ends llama.cpp's threads and frees the weights


def _read_ahead(path: Path) -> None:
    """Bring the file into the page cache: llama.cpp holds the interpreter while it loads, and a slow disk would stop health checks."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(4 << 20)
        while file.readinto(buffer):
            pass


def body_of(request: GenerateRequest) -> dict[str, Any]:
    """The request as llama.cpp takes it. InvalidRequest when there is nothing to answer."""
    messages = [{"role": message.role, "content": message.content, **message.more} for message in request.messages]
    if not messages and request.prompt is None:
        raise InvalidRequest("messages: expected at least one, got none", "messages")
    if request.prefix:  # a last message of the assistant is gone on from, not answered (prefill_assistant)
        messages.append({"role": "assistant", "content": request.prefix})
    body: dict[str, Any] = {
        **({"messages": messages} if request.prompt is None else {"prompt": request.prompt}),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
    }
    optional = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "grammar": request.grammar,
    }
    body.update({name: request.extra[name] for name in PASSED_ON if name in request.extra})
    body.update({name: value for name, value in optional.items() if value is not None})
    return body


def bound_to(forced: ForcedCall, body: dict[str, Any], tells_of_tools: bool) -> dict[str, Any]:
    """The body with a grammar that leaves the answer nothing but a call. llama.cpp takes no grammar beside tools that it may call;
    where the template tells of them they go along as `none`, else in words."""
    bound = {name: value for name, value in body.items() if name not in _NOT_OF_CALLS}
    bound |= {"json_schema": forced.schema(), "tool_choice": "none"}
    if not tells_of_tools:
        del bound["tools"], bound["tool_choice"]
        bound["messages"] = _with_system(forced.note(), body["messages"])
    return bound


def _with_system(note: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the note at the end of the first message, where that is the system's: some templates take only one."""
    if messages and messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{note}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": note}, *messages]


class _Answer:
    """One answer as llama.cpp reports it, piece by piece."""

    def __init__(self, body: dict[str, Any], prompt_speed: Speed, speed: Speed, call: CallTold | None) -> None:
        self._body, self._call = body, call
        self._prompt_speed, self._speed = prompt_speed, speed
        self.prompt_progress: float | None = 0.0  # None once text comes
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._error: PerenneError | None = None

    def generate(self, server: Any, job: Job[GenerateChunk]) -> None:
        """In the inference thread: returns at the end, or at the next piece after the job was cancelled."""

        def on_piece(piece: Any) -> bool:
            self._take(json.loads(piece) if isinstance(piece, str | bytes) else piece, job)
            return job.cancelled.is_set()

        handle = server.handle_completions if "prompt" in self._body else server.handle_chat_completions
        handle(self._body, on_piece)
        if self._error is not None:
            raise self._error
        if job.cancelled.is_set():
            job.emit(GenerateChunk(finish_reason="cancelled", usage=self._usage))
            return
        if self._finish is None:
            raise EngineFailed(ENGINE, "the answer broke off without an end")
        if self._call is not None:
            self._tell(self._call.end(), job)
            self._finish = "tool_calls" if self._call.is_whole else self._finish
        job.emit(GenerateChunk(finish_reason=_FINISH.get(self._finish, "stop"), usage=self._usage))  # pyright: ignore[reportArgumentType]

    def _take(self, piece: dict[str, Any], job: Job[GenerateChunk]) -> None:
        job.moved()
        if "choices" not in piece:
            self._error = _error_of(piece)
            return
        if "prompt_progress" in piece:
            self._take_progress(piece["prompt_progress"], job)
        for choice in piece["choices"]:
            delta = choice.get("delta") or {}
            text, calls = delta.get("content") or choice.get("text") or "", tuple(delta.get("tool_calls") or ())
            if text and self._call is not None:
                self.prompt_progress = None
                self._tell(self._call.take(text), job)
            elif text or calls:
                self.prompt_progress = None
                job.emit(GenerateChunk(text=text, tool_calls=calls, logprobs=choice.get("logprobs")))
            self._finish = choice.get("finish_reason") or self._finish
        if usage := piece.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            self._usage = Usage(
                prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"], cached_tokens=cached
            )
        if timings := piece.get("timings"):
            self._prompt_speed.add(timings.get("prompt_n", 0), timings.get("prompt_ms", 0) / 1000)
            self._speed.add(timings.get("predicted_n", 0), timings.get("predicted_ms", 0) / 1000)

    @staticmethod
    def _tell(pieces: tuple[dict[str, Any], ...], job: Job[GenerateChunk]) -> None:
        for piece in pieces:
            job.emit(GenerateChunk(tool_calls=(piece,)))

    def _take_progress(self, progress: dict[str, Any], job: Job[GenerateChunk]) -> None:
        self.prompt_progress = progress["processed"] / max(1, progress["total"])
        job.emit(GenerateChunk(prompt_progress=self.prompt_progress))


def _error_of(piece: dict[str, Any]) -> PerenneError:
    error: Any = piece.get("error", piece)
    if not isinstance(error, dict):
        return EngineFailed(ENGINE, str(error))
    words = str(error.get("message", error))
    return InvalidRequest(words) if error.get("code") == _BAD_REQUEST else EngineFailed(ENGINE, words)
