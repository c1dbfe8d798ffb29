"""Writing an answer word by word, through the deaths of whoever generates it."""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Literal

from actors.runs.journal import Journal
from actors.runs.model import RESUMES_MAX, Model, ModelAway, cannot_continue, worth_another
from perenne.errors import EngineFailed, PerenneError
from perenne.messages.models import GenerateRequest
from perenne.messages.records import Usage

log = logging.getLogger(__name__)

_AGAIN_S = 0.3  # pause before a broken generation is taken up again


@dataclass(slots=True)
class Written:
    """The answer as far as it has come."""

    text: str = ""
    finish_reason: str = "stop"
    usage: Usage | None = None


class Writer:
    """One answer being written into one journal."""

    def __init__(self, model: Model, journal: Journal) -> None:
        self._model, self._journal = model, journal
        self.written = Written()

    async def _tell(self, words: str) -> None:
        await self._journal.note("status", stage="model", detail=words)

    async def write(self, request: GenerateRequest, so_far: str = "") -> Written:
        """Generate to the end. Where the engine breaks off it is asked to go on from the text so far; where it can't, followers
        are told `restarted` and the text begins again. ModelAway when nobody is left to write."""
        self.written.text = so_far
        for trial in range(RESUMES_MAX + 1):
            attempt = replace(request, prefix=self.written.text, request_id=f"{request.request_id}-{trial}")
            try:
                await self._once(attempt)
                await self._journal.flush()
                return self.written
            except PerenneError as error:
                if cannot_continue(error, attempt):
                    await self.begin_again(str(error))
                elif isinstance(error, EngineFailed) or (worth_another(error) and trial == RESUMES_MAX):
                    raise ModelAway(str(error)) from error
                elif not worth_another(error):
                    raise
                else:
                    log.info("the generation broke off: %s", error)
                    await self._journal.flush()
                    await asyncio.sleep(_AGAIN_S)
                    await self._model.ready(self._tell)
        raise ModelAway("it broke off again and again")

    async def begin_again(self, reason: str, cause: Literal["outage", "withdrawn"] = "outage") -> None:
        """Tell followers to drop the text so far: something died, or what was drafted is taken back."""
        self._journal.drop()
        shown, self.written.text = self.written.text, ""
        if shown:
            await self._journal.note("restarted", attempt=self._journal.run.attempt, reason=reason, cause=cause)

    async def _once(self, request: GenerateRequest) -> None:
        told = 0.0
        async for chunk in self._model.stream(request):
            text = chunk.text if self.written.text else chunk.text.lstrip()
            if text:
                self.written.text += text
                await self._journal.say(text)
            elif chunk.prompt_progress is not None and chunk.prompt_progress < 1.0 and time.monotonic() - told > 1.0:
                told = time.monotonic()
                await self._journal.note("status", stage="reading", progress=round(chunk.prompt_progress, 2))
            if chunk.usage is not None:
                self.written.usage = chunk.usage
            if chunk.finish_reason is not None:
                self.written.finish_reason = chunk.finish_reason
