"""Small real classes that stand in for the cluster in tests: a directory of plain objects, a language model, an embedder."""

import asyncio
import hashlib
import inspect
import re
import struct
import time
import unicodedata
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from perenne.errors import DeadlineExceeded, ModelNotReady, Unavailable
from perenne.messages.health import Health
from perenne.messages.models import Embeddings, EmbedRequest, GenerateChunk, GenerateRequest, ModelState
from perenne.messages.records import Usage

T = TypeVar("T")

_LOOK_AGAIN_S = 0.01  # pause between two looks of `eventually`


async def eventually(check: Callable[[], T | Awaitable[T]], within_s: float = 5.0) -> T:
    """The first truthy answer of `check` (plain or async). A check that raises AssertionError or says something falsy is asked
    again; after `within_s` the last error is raised, or an AssertionError with the last answer."""
    deadline = time.monotonic() + within_s
    while True:
        error: AssertionError | None = None
        answer: Any = None
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
        except AssertionError as raised:
            error = raised
        if error is None and answer:
            return cast("T", answer)
        if time.monotonic() >= deadline:
            raise error or AssertionError(f"not within {within_s:g} s; the last answer was {answer!r}")
        await asyncio.sleep(_LOOK_AGAIN_S)


class FakeDirectory:
    """A `Directory` of plain objects by name. `kill`, `hang` and `slow` break one name the ways that a cluster does:
    a killed owner's callers get Unavailable (streams too, at their next item), a hung one's run into their deadline."""

    def __init__(self, **owners: Any) -> None:
        self._owners: dict[str, Any] = dict(owners)
        self._dead: set[str] = set()
        self._hung: set[str] = set()
        self._slow_s: dict[str, float] = {}
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.open_streams: dict[str, int] = {}  # by name: streams that nobody has ended yet

    def put(self, name: str, owner: Any) -> None:
        """Make an object reachable by a name; a name that was killed lives again."""
        self._owners[name] = owner
        self._dead.discard(name)

    def kill(self, name: str) -> None:
        """From now on the name is away."""
        self._dead.add(name)

    def revive(self, name: str) -> None:
        """End `kill`, `hang` and `slow` of the name."""
        self._dead.discard(name)
        self._hung.discard(name)
        self._slow_s.pop(name, None)

    def hang(self, name: str) -> None:
        """From now on the name takes calls and never answers."""
        self._hung.add(name)

    def slow(self, name: str, seconds: float) -> None:
        """Each call of the name, and each item of its streams, takes this much longer."""
        self._slow_s[name] = seconds

    def _owner(self, name: str) -> Any:
        if name in self._dead or name not in self._owners:
            raise Unavailable(name, 0.05, "it is not running yet")
        return self._owners[name]

    async def _weather(self, name: str) -> None:
        if name in self._slow_s:
            await asyncio.sleep(self._slow_s[name])
        while name in self._hung:
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        """One call; see `Directory.call`."""
        owner = self._owner(name)
        self.calls.append((name, method, kwargs))
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                await self._weather(name)
                answer = getattr(owner, method)(**kwargs)
                if inspect.isawaitable(answer):
                    answer = await answer
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(name, timeout_s) from None
        self._owner(name)  # killed while it worked: the work may be done, the answer is lost
        return answer

    async def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> AsyncIterator[Any]:
        """The items of a streaming call; see `Directory.stream`."""
        self.calls.append((name, method, kwargs))
        source = cast("AsyncGenerator[Any, None]", getattr(self._owner(name), method)(**kwargs))
        self.open_streams[name] = self.open_streams.get(name, 0) + 1
        try:
            while True:
                limit = asyncio.timeout(silence_s)
                try:
                    async with limit:
                        await self._weather(name)
                        item = await anext(source)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not limit.expired():
                        raise
                    raise DeadlineExceeded(name, silence_s) from None
                self._owner(name)
                yield item
        finally:
            self.open_streams[name] -= 1
            await source.aclose()


Reply = str | Callable[[GenerateRequest], str]


class FakeLanguage:
    """A language model that says what it was told to, word by word, as a replica of "language" would.

    `reply` is a text or a function of the request; by default the last message is repeated. `phase` other than "ready" makes
    it raise ModelNotReady. It knows `can_continue`: `prefix` is taken off the front of what it was going to say."""

    can_continue = True

    def __init__(self, reply: Reply | None = None, *, token_s: float = 0.0, context_tokens: int = 4096) -> None:
        self.reply, self.token_s, self.context_tokens = reply, token_s, context_tokens
        self.phase: Any = "ready"
        self.progress: float | None = None
        self.tool_arguments = ""  # JSON, of each tool that it calls
        self.requests: list[GenerateRequest] = []
        self.running = 0  # generations that nobody has ended yet
        self.closed_early = 0  # generations whose reader left before the end
        self.steps = 0  # tokens made, of all generations together: time by the engine's own clock

    def _text(self, request: GenerateRequest) -> str:
        if self.reply is None:
            return request.messages[-1].content if request.prompt is None else request.prompt
        return self.reply if isinstance(self.reply, str) else self.reply(request)

    def _call(self, request: GenerateRequest) -> dict[str, Any] | None:
        """The call of a tool that the request makes this model make: the tool that was forced, or the one that the last message
        of the user's names. Arguments are what `tool_arguments` says."""
        tools = {tool["function"]["name"]: tool["function"] for tool in request.extra.get("tools") or ()}
        choice = request.extra.get("tool_choice", "auto")
        if not tools or choice == "none" or request.messages[-1].role != "user":
            return None
        said = request.messages[-1].content
        named: list[str] = [name for name in tools if name in said]
        if isinstance(choice, dict):
            named = [cast("dict[str, Any]", choice)["function"]["name"]]
        elif choice == "required":
            named = named or list(tools)
        if not named:
            return None
        arguments = self.tool_arguments or "{}"
        function = {"name": named[0], "arguments": arguments}
        return {"index": 0, "id": f"call_{len(self.requests)}", "type": "function", "function": function}

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """Generate; the last chunk has `finish_reason` and `usage`."""
        if self.phase != "ready":
            raise ModelNotReady("language", self.phase, self.progress, 1.0)
        self.requests.append(request)
        self.running += 1
        finished = False
        try:
            prompt = sum(len(tokens_of(text)) for text in (*(m.content for m in request.messages), request.prompt or ""))
            yield GenerateChunk(prompt_progress=1.0)
            if (call := self._call(request)) is not None:
                finished = True
                yield GenerateChunk(tool_calls=(call,))
                yield GenerateChunk(finish_reason="tool_calls", usage=Usage(prompt_tokens=prompt, completion_tokens=1))
                return
            text, _ = cut_at_stop(self._text(request).removeprefix(request.prefix), request.stop)
            said = tokens_of(text)
            limit = len(said) if request.max_tokens is None else min(len(said), request.max_tokens)
            for token in said[:limit]:
                if self.token_s:
                    await asyncio.sleep(self.token_s)
                self.steps += 1
                yield GenerateChunk(text=token)
            reason = "stop" if limit == len(said) else "length"  # a stop that lies beyond the limit is not reached
            finished = True
            yield GenerateChunk(
                finish_reason=reason,
                usage=Usage(prompt_tokens=prompt, completion_tokens=limit),
            )
        finally:
            self.running -= 1
            self.closed_early += not finished

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """How many tokens each text is."""
        return tuple(len(tokens_of(text)) for text in texts)

    async def warm(self) -> None:
        """Nothing has to be loaded."""

    async def state(self) -> ModelState:
        """Ready, or what `phase` was set to."""
        return ModelState(
            role="language",
            model_id="fake-language",
            phase=self.phase,
            progress=self.progress,
            context_tokens=self.context_tokens,
        )

    async def health(self) -> Health:
        return Health(name="language", status="ready", pid=0, queue=self.running)


def tokens_of(text: str) -> list[str]:
    """Words with the space before them: joined they are the text again."""
    return re.findall(r"\s*\S+|\s+$", text)


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first stop sequence in it, and whether there was one."""
    places = [place for place in (text.find(s) for s in stop if s) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


class FakeEmbedder:
    """Embeds by hashing folded words and their four-letter stems: texts that share words have a high cosine, others near 0."""

    def __init__(self, dimension: int = 512, space: str = "use-multilingual-q8") -> None:
        self.dimension, self.space = dimension, space
        self.phase: Any = "ready"
        self.progress: float | None = None
        self.requests: list[EmbedRequest] = []

    def vector(self, text: str) -> list[float]:
        """The unit-length vector of one text."""
        folded = unicodedata.normalize("NFKD", text.casefold())
        row = [0.0] * self.dimension
        for word in re.findall(r"\w+", "".join(c for c in folded if not unicodedata.combining(c))):
            for piece, weight in ((word, 1.0), (word[:4], 0.5)):
                digest = hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                place, sign = struct.unpack("<Ii", digest)
                row[place % self.dimension] += weight if sign >= 0 else -weight
        length = sum(x * x for x in row) ** 0.5
        if length == 0.0:
            row[0] = length = 1.0
        return [x / length for x in row]

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Embed all texts of a request."""
        if self.phase != "ready":
            raise ModelNotReady("embedding", self.phase, self.progress, 1.0)
        self.requests.append(request)
        data = b"".join(struct.pack(f"<{self.dimension}f", *self.vector(text)) for text in request.texts)
        tokens = sum(len(tokens_of(text)) for text in request.texts)
        return Embeddings(space=self.space, dimension=self.dimension, count=len(request.texts), data=data, tokens=tokens)

    async def warm(self) -> None:
        """Nothing has to be loaded."""

    async def state(self) -> ModelState:
        """Ready, or what `phase` was set to."""
        return ModelState(
            role="embedding",
            model_id=self.space,
            phase=self.phase,
            progress=self.progress,
            dimension=self.dimension,
            space=self.space,
        )

    async def health(self) -> Health:
        return Health(name="embedding", status="ready", pid=0)


def rows_of(embeddings: Embeddings) -> list[list[float]]:
    """The vectors of an answer as lists of floats."""
    values = array("f", embeddings.data)
    width = embeddings.dimension
    return [values[n * width : (n + 1) * width].tolist() for n in range(embeddings.count)]
