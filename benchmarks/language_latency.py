"""What our side of a language model costs: first word and tokens a second through a replica, beside the engine called directly.

    python -m benchmarks.language_latency --models-dir DIR [--model ID] [--rounds 3]

Both run in this process, one after the other, with the same prompt, seed and thread settings; each round has a prompt of its own, so
that neither reads it from a cache."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from actors.models.llama_cpp import LlamaCpp, body_of
from actors.models.replicas import LanguageReplica
from benchmarks.report import Figure, publish
from perenne.messages.models import ChatMessage, GenerateRequest
from perenne.settings import ModelSettings, Settings
from perenne.testing import eventually

_TOKENS = 64
_PASSAGE = (
    "The bridge over the river was begun in 1887 and finished in 1890, {n} years before the mill at its foot burnt down. " * 10
)


def prompt_of(number: int) -> GenerateRequest:
    """A prompt that begins like no other one."""
    text = f"Text {number}. " + _PASSAGE.format(n=number) + "\nRetell the text."
    messages = (ChatMessage(role="user", content=text),)
    return GenerateRequest(request_id=f"bench-{number}", messages=messages, max_tokens=_TOKENS, temperature=0.0, seed=1)


async def through_replica(replica: LanguageReplica, number: int) -> tuple[float, float]:
    """Seconds to the first word, and tokens a second from there."""
    began, first, tokens = time.monotonic(), 0.0, 0
    async for chunk in replica.stream(prompt_of(number)):
        if chunk.text and not first:
            first = time.monotonic()
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return first - began, (tokens - 1) / (time.monotonic() - first)


def directly(server: Any, number: int) -> tuple[float, float]:
    """The same from the engine's own call."""
    began, first, tokens = time.monotonic(), 0.0, 0

    def on_piece(piece: Any) -> bool:
        nonlocal first, tokens
        for choice in piece.get("choices", ()):
            if choice.get("delta", {}).get("content") and not first:
                first = time.monotonic()
        tokens = (piece.get("usage") or {}).get("completion_tokens", tokens)
        return False

    server.handle_chat_completions(body_of(prompt_of(number)), on_piece)
    return first - began, (tokens - 1) / (time.monotonic() - first)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


async def measure(asked: argparse.Namespace) -> list[Figure]:
    """Rounds by turns, so that a change of the machine's mood meets both."""
    language = ModelSettings(engine="llama_cpp", model=asked.model, context_tokens=4096)
    embedding = ModelSettings(engine="onnx", model="use-multilingual-q8")
    with tempfile.TemporaryDirectory() as home:
        replica = LanguageReplica(Settings(home=home, models_dir=str(asked.models_dir), language=language, embedding=embedding))
        try:
            engine: Any = await eventually(lambda: replica.residence.engine, 120.0)
            assert isinstance(engine, LlamaCpp)
            ours: list[tuple[float, float]] = []
            theirs: list[tuple[float, float]] = []
            await through_replica(replica, 0)
            for number in range(1, asked.rounds + 1):
                ours.append(await through_replica(replica, 2 * number))
                theirs.append(await asyncio.to_thread(directly, engine.server, 2 * number + 1))
        finally:
            await asyncio.to_thread(replica.close)
    first, first_direct = median([f for f, _ in ours]), median([f for f, _ in theirs])
    speed, speed_direct = median([s for _, s in ours]), median([s for _, s in theirs])
    return [
        Figure("first word", first, first_direct, "s", goal=f"ours <= {first_direct + 0.05:.4f}", note="direct + 50 ms"),
        Figure("tokens a second", speed, speed_direct, "tokens/s", goal="ratio >= 0.95"),
    ]


def main() -> None:
    """Measure, print and write build/bench/language_latency.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("build/models"))
    parser.add_argument("--model", default="smollm2-135m-instruct-q4_1")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    publish("language_latency", asyncio.run(measure(asked)), model=asked.model)


if __name__ == "__main__":
    main()
