"""Models over transformers in their replicas: by settings, by path and by hub id; weights that leave and come back."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_models import ANSWER, QUESTION

from actors.models.engines import make_embedder, make_language, make_reranker
from actors.models.replicas import EmbeddingReplica, LanguageReplica, RerankingReplica
from actors.models.residence import Residence
from perenne.errors import ModelNotReady
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateRequest, RerankRequest
from perenne.settings import ModelSettings, Settings
from perenne.testing import eventually

ROOT = Path(__file__).resolve().parents[2]


def model(folder: Path, **more: Any) -> ModelSettings:
    return ModelSettings(engine="transformers", model=str(folder), **more)


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


async def generate(engine: Any, text: str = QUESTION, **more: Any) -> str:
    request = GenerateRequest(request_id="r", messages=(ChatMessage(role="user", content=text),), temperature=0.0, **more)
    return "".join([chunk.text async for chunk in engine.stream(request)])


async def embed(engine: Any) -> bytes:
    return (await engine.embed(EmbedRequest(texts=("the cat sleeps", "rates rose")))).data


async def rerank(engine: Any) -> tuple[float, ...]:
    return (await engine.rerank(RerankRequest(query="rates", texts=("the cat sleeps", "rates rose")))).scores


@pytest.mark.parametrize(
    ("role", "make", "folder", "ask"),
    [
        ("language", make_language, "slow_speaker", lambda engine: generate(engine, max_tokens=4)),
        ("embedding", make_embedder, "minilm", embed),
        ("reranking", make_reranker, "cross_encoder", rerank),
    ],
)
async def test_weights_leave_when_idle_and_come_back_with_the_same_answer(
    role: str, make: Callable[..., Any], folder: str, ask: Callable[..., Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(folder)
    size = (path / "model.safetensors").stat().st_size
    residence = Residence(role, model(path, idle_unload_s=1.0), tmp_path, make)
    answers, loaded, left = [], [], []
    try:
        for _ in range(2):  # the first round pays for libraries too, which stay
            await eventually(lambda: residence.phase == "ready", 60)
            answers.append(await ask(residence.engine))
            loaded.append(resident_bytes())
            await eventually(lambda: residence.phase == "unloaded" and residence.engine is None, 15)
            await asyncio.to_thread(residence._closing.wait, 0.5)  # the keeper closes the engine
            left.append(resident_bytes())
            with pytest.raises(ModelNotReady):
                residence.ready_engine()  # asks for it
    finally:
        await asyncio.to_thread(residence.close)
    assert answers[0] == answers[1]
    if size > 50_000_000:  # of a small one nothing could be seen
        assert loaded[1] - left[0] > 0.5 * size  # rows of a table of words that no text needed stay on disk
        assert loaded[1] - left[1] > 0.5 * size
        assert abs(left[1] - left[0]) < 0.2 * size


async def test_the_roles_are_chosen_by_settings_and_a_question_waits_for_weights_that_left(
    speaker: Path, encoder: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    settings = Settings(
        home=str(tmp_path),
        models_dir=str(tmp_path),
        language=model(speaker, idle_unload_s=0.5),
        embedding=model(encoder),
        reranking=model(cross_encoder),
    )
    replicas = (LanguageReplica(settings), EmbeddingReplica(settings), RerankingReplica(settings))
    language, embedding, reranking = replicas
    try:
        for replica in replicas:
            await eventually(lambda replica=replica: replica.residence.phase in ("ready", "unloaded"), 60)
        state = await embedding.state()
        assert (state.role, state.dimension, state.space) == ("embedding", 48, settings.embedding.space)
        assert (await embedding.embed(EmbedRequest(texts=("iron",)))).space == settings.embedding.space
        assert len((await reranking.rerank(RerankRequest(query="iron", texts=("a", "b")))).scores) == 2
        await eventually(lambda: language.residence.phase == "unloaded", 20)
        assert await generate(language) == ANSWER
        assert (await reranking.health()).status == "ready"
    finally:
        for replica in replicas:
            await asyncio.to_thread(replica.close)


async def test_weights_of_another_role_are_a_state_with_words(encoder: Path, tmp_path: Path) -> None:
    residence = Residence("reranking", model(encoder), tmp_path, make_reranker)
    try:
        await eventually(lambda: residence.phase == "failed", 60)
        assert "is no model for this: it lacks the weights classifier" in residence.state().detail
    finally:
        residence.close()


class Hub(BaseHTTPRequestHandler):
    """Files of one repository as the hub serves them."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.asked.append(self.path)
        name = self.path.partition("/resolve/main/")[2]
        file = self.folder / name
        body = file.read_bytes() if name and file.is_file() else b""
        self.send_response(200 if body else 404)
        if body:
            self.send_header("ETag", f'"{len(body)}-{name}"')
            self.send_header("X-Repo-Commit", "a" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def hub(encoder: Path) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it is asked for."""
    kind = type("OneHub", (Hub,), {"folder": encoder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kind.asked
    server.shutdown()
    server.server_close()


EMBED = """
import asyncio, json, sys
from pathlib import Path
from actors.models.engines import files_for, make_embedder
from perenne.messages.models import EmbedRequest
from perenne.settings import ModelSettings
settings = ModelSettings(engine="transformers", model=sys.argv[1])
engine = make_embedder(settings, files_for(settings, Path("/nowhere")))
found = asyncio.run(engine.embed(EmbedRequest(texts=("the cat sleeps", "rates rose"))))
print(json.dumps([found.space, found.data.hex()]))
"""


def embedded(name: str, **environment: str) -> tuple[str, str]:
    """Space and vectors from a process of its own: the hub's client reads its settings as it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", EMBED, name],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    space, data = json.loads(done.stdout.strip().splitlines()[-1])
    return space, data


async def test_a_hub_id_is_fetched_once_and_a_path_asks_no_hub(
    hub: tuple[str, list[str]], encoder: Path, tmp_path: Path
) -> None:
    address, asked = hub
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
    _, by_path = embedded(str(encoder), **environment)
    assert asked == []
    space, by_id = embedded("owner/small-encoder", **environment)
    assert by_id == by_path
    assert space.startswith("small-encoder-")
    assert "/owner/small-encoder/resolve/main/model.safetensors" in asked
    asked.clear()
    assert embedded("owner/small-encoder", **environment, HF_HUB_OFFLINE="1") == (space, by_id)
    assert asked == []


def test_the_gpu_is_used_when_there_is_one(encoder: Path) -> None:
    from actors.models.transformers_embedder import TransformersEmbedder

    engine = TransformersEmbedder(model(encoder), (encoder,))
    device = next(engine._loaded.model.parameters()).device.type
    engine.close()
    assert device == ("cuda" if torch.cuda.is_available() else "cpu")
