"""The language model as an answer needs it: waited for while it is on its way, asked, asked on where it broke off."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from perenne import names
from perenne.directory import Directory
from perenne.errors import Busy, DeadlineExceeded, EngineFailed, InvalidRequest, ModelNotReady, PerenneError, Unavailable
from perenne.messages.models import GenerateChunk, GenerateRequest, ModelState

log = logging.getLogger(__name__)

LOADING_WAIT_S = 120.0  # a model that loads or restarts is waited for this long
DOWNLOAD_WAIT_S = 900.0  # one that is being downloaded, this long
MISSING_WAIT_S = 3.0  # one that is nowhere, this long: another replica may know better
SILENCE_S = 30.0  # a generation gives a sign of life at least this often, in the engine's queue too
LOOK_S = 0.5  # between looks at a model on its way
RESUMES_MAX = 4  # times that one text is taken up again

Tell = Callable[[str], Awaitable[None]]


class ModelAway(PerenneError):
    """Nobody is there to write. `state` says it in words."""

    code = "model_not_ready"

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        return f"the language model is not available ({self.state})"


def words_of(state: ModelState) -> str:
    """A phase in words, with its number: 'downloading 34 %'."""
    share = "" if state.progress is None else f" {state.progress * 100:.0f} %"
    return f"{state.phase}{share}"


class Model:
    """The replicas of "language", asked through a directory."""

    def __init__(self, directory: Directory, progressed: Callable[[], None] = lambda: None) -> None:
        self._directory, self._progressed = directory, progressed

    async def state(self) -> ModelState:
        """Where it is now. Unavailable while no replica answers."""
        return await self._directory.call(names.LANGUAGE, "state", timeout_s=2.0)

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """Tokens of each text, or None when the model can't be asked now."""
        try:
            return await self._directory.call(names.LANGUAGE, "count_tokens", timeout_s=2.0, texts=tuple(texts))
        except PerenneError:
            return None

    async def ready(self, tell: Tell) -> ModelState:
        """The state once it is ready. `tell` hears each change of what is waited for. ModelAway after the bound of its phase."""
        began = time.monotonic()
        warmed = False
        said = ""
        while True:
            try:
                state = await self.state()
                phase, words = state.phase, words_of(state)
                if phase == "ready":
                    return state
            except (Unavailable, DeadlineExceeded, Busy) as error:
                state, phase, words = None, "loading", "restarting"
                log.info("the language model did not answer: %s", error)
            if words != said:
                await tell(words)
                said = words
            if phase == "unloaded" and not warmed:
                warmed = True
                await self._warm()
            waited = time.monotonic() - began
            bound = {"downloading": DOWNLOAD_WAIT_S, "missing": MISSING_WAIT_S, "failed": MISSING_WAIT_S}
            if waited > bound.get(phase, LOADING_WAIT_S):
                raise ModelAway(words)
            self._progressed()  # waiting for a model is not hanging
            await asyncio.sleep(LOOK_S)

    async def _warm(self) -> None:
        try:
            await self._directory.call(names.LANGUAGE, "warm", timeout_s=LOADING_WAIT_S)
        except PerenneError as error:
            log.info("the language model could not be warmed: %s", error)

    async def stream(self, request: GenerateRequest) -> AsyncIterator[GenerateChunk]:
        """Chunks of one generation, once. Leaving the loop ends it in the engine."""
        source = self._directory.stream(names.LANGUAGE, "stream", silence_s=SILENCE_S, request=request)
        async for chunk in source:
            self._progressed()
            yield chunk

    async def word(self, request: GenerateRequest) -> str:
        """A short text in one piece; ModelAway when it can't be had."""
        try:
            return "".join([chunk.text async for chunk in self.stream(request)])
        except (Unavailable, DeadlineExceeded, Busy, EngineFailed) as error:
            raise ModelAway(str(error)) from error


def worth_another(error: PerenneError) -> bool:
    """Whether the same generation may succeed a moment later."""
    return isinstance(error, Unavailable | DeadlineExceeded | Busy | ModelNotReady)


def cannot_continue(error: PerenneError, request: GenerateRequest) -> bool:
    """Whether the engine refused the text so far and nothing else."""
    return isinstance(error, InvalidRequest) and bool(request.prefix)
