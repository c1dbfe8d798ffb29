"""The endpoint engine against a small real server that speaks the protocol."""

import asyncio
import json

import pytest

from actors.models.openai_endpoint import OpenAIEmbedder, OpenAILanguage
from perenne.errors import Busy, EngineFailed, InvalidRequest
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateRequest
from perenne.settings import ModelSettings
from perenne.testing import eventually

REQUEST = GenerateRequest(request_id="r", messages=(ChatMessage(role="user", content="hi"),), max_tokens=9, seed=4)


class Endpoint:
    """HTTP by hand: streams `pieces`, then waits when `hang` is set. `dropped`: the client left before the end."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.status, self.headers, self.hang, self.dropped = 200, "", False, False
        self.bodies: list[dict] = []
        self.reply: dict | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
        self.bodies.append({"path": head.split()[1], **json.loads(await reader.readexactly(length))})
        writer.write(f"HTTP/1.1 {self.status} X\r\nConnection: close\r\n{self.headers}\r\n".encode())
        text = json.dumps(self.reply) if self.reply is not None else "".join(f"data: {p}\n\n" for p in self.pieces)
        writer.write(text.encode())
        await writer.drain()
        if self.hang:
            self.dropped = await reader.read() == b""
        writer.close()


def settings(url: str, queue: int = 8) -> ModelSettings:
    return ModelSettings(engine="openai", model="big", url=url, api_key="k", queue=queue)


def delta(text: str, finish: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


async def test_text_end_and_usage_come_through() -> None:
    endpoint = Endpoint()
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    endpoint.pieces = [delta("Hel"), delta("lo", "length"), usage, "[DONE]"]
    engine = OpenAILanguage(settings(await endpoint.start()))
    chunks = [chunk async for chunk in engine.stream(REQUEST)]
    assert "".join(chunk.text for chunk in chunks) == "Hello"
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 2
    sent = endpoint.bodies[0]
    assert sent["path"] == "/v1/chat/completions"
    assert (sent["model"], sent["max_tokens"], sent["seed"], sent["stream"]) == ("big", 9, 4, True)


async def test_leaving_drops_the_connection_and_silence_has_signs_of_life() -> None:
    endpoint = Endpoint()
    endpoint.hang = True
    engine = OpenAILanguage(settings(await endpoint.start()))
    stream = engine.stream(REQUEST)
    async with asyncio.timeout(1.5):
        assert (await anext(stream)).prompt_progress == 0.0
    assert engine.figures().queue == 1
    await stream.aclose()
    await eventually(lambda: endpoint.dropped, 1.0)
    assert engine.figures().queue == 0


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [(429, "Retry-After: 7\r\n", Busy), (400, "", InvalidRequest), (500, "", EngineFailed), (401, "", EngineFailed)],
)
async def test_its_refusals_are_our_errors(status: int, headers: str, error: type[Exception]) -> None:
    endpoint = Endpoint()
    endpoint.status, endpoint.headers, endpoint.reply = status, headers, {"error": "no"}
    engine = OpenAILanguage(settings(await endpoint.start()))
    with pytest.raises(error) as raised:
        [chunk async for chunk in engine.stream(REQUEST)]
    if isinstance(raised.value, Busy):
        assert raised.value.retry_after_s == 7.0


async def test_a_stream_that_breaks_off_is_a_failure_not_a_short_answer() -> None:
    endpoint = Endpoint()
    endpoint.pieces = [delta("Hel")]
    engine = OpenAILanguage(settings(await endpoint.start()))
    with pytest.raises(EngineFailed, match="broke off"):
        [chunk async for chunk in engine.stream(REQUEST)]


async def test_more_at_once_than_the_queue_is_busy() -> None:
    endpoint = Endpoint()
    endpoint.hang = True
    engine = OpenAILanguage(settings(await endpoint.start(), queue=0))
    first = engine.stream(REQUEST)
    await anext(first)
    with pytest.raises(Busy):
        await anext(engine.stream(REQUEST))
    await first.aclose()


async def test_vectors_come_in_the_order_asked_and_of_unit_length() -> None:
    import numpy as np

    endpoint = Endpoint()
    data = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 0.0]}]
    endpoint.reply = {"data": data, "usage": {"prompt_tokens": 5}}
    engine = OpenAIEmbedder(settings(await endpoint.start()))
    found = await engine.embed(EmbedRequest(texts=("a", "b")))
    assert np.frombuffer(found.data, "<f4").reshape(2, 2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert (found.dimension, found.count, found.tokens) == (2, 2, 5)
    with pytest.raises(EngineFailed, match="expected 1 vectors"):
        await engine.embed(EmbedRequest(texts=("a",)))
