"""What batches are worth to the embedder over transformers: texts a second by the size of a batch, beside the model called one by one.

    build/transformers/bin/python -m benchmarks.transformers_batching [--model all-minilm-l6-v2] [--texts 256] [--seconds 4] [--rounds 3]

In the environment that `make extras` makes. Texts are of 20 to 120 words, the same for all. `theirs` is the same model and tokenizer of the
library's called text by text with the same one thread, no line and no padding. On a CPU a second is one of the process's own processor time:
with one thread that is what the clock says on an idle machine, whatever else runs meanwhile; on a GPU it is the clock's."""

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from actors.models.engines import files_for
from actors.models.transformers_embedder import TransformersEmbedder
from benchmarks.report import Figure, publish
from perenne.messages.models import EmbedRequest
from perenne.settings import ModelSettings

Clock = Callable[[], float]
SIZES = (1, 8, 32, 128)
_WORDS = (
    "bridge",
    "river",
    "was",
    "built",
    "of",
    "iron",
    "in",
    "spring",
    "and",
    "rates",
    "rose",
    "while",
    "it",
    "rained",
    "the",
    "roof",
)


def texts_of(count: int) -> list[str]:
    rng = random.Random(20_260_101)
    return [" ".join(rng.choices(_WORDS, k=rng.randint(20, 120))) for _ in range(count)]


def one_by_one(engine: TransformersEmbedder, texts: list[str]) -> Callable[[int], np.ndarray]:
    """The library as its documentation shows it, on the engine's own weights: the vector of the text of that number."""
    loaded = engine.loaded
    torch = loaded.packages.torch

    def embed(number: int) -> np.ndarray:
        coded = loaded.tokenizer(texts[number % len(texts)], truncation=True, max_length=256, return_tensors="pt").to(
            loaded.device
        )
        with torch.inference_mode():
            hidden = loaded.model(**coded).last_hidden_state[0].float()
            return torch.nn.functional.normalize(hidden.mean(dim=0), dim=0).cpu().numpy()

    return embed


def rate_of(embed: Callable[[int], np.ndarray], seconds: float, clock: Clock) -> float:
    embed(0)
    began, done = clock(), 0
    while clock() - began < seconds:
        embed(done)
        done += 1
    return done / (clock() - began)


async def rate_in_batches(engine: TransformersEmbedder, texts: list[str], size: int, seconds: float, clock: Clock) -> float:
    """Requests of `size` texts, one after the other."""
    await engine.embed(EmbedRequest(texts=tuple(texts[:1])))
    began, done = clock(), 0
    while clock() - began < seconds:
        start = done % len(texts)
        done += (await engine.embed(EmbedRequest(texts=tuple((texts * 2)[start : start + size])))).count
    return done / (clock() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-minilm-l6-v2", help="a catalogue id, a path or a hub id")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each size in each round")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    settings = ModelSettings(engine="transformers", model=asked.model)
    models = Path(os.environ.get("PERENNE_MODELS") or os.environ.get("PERENNE_MODELS_FOR_TESTS") or "build/models")
    engine = TransformersEmbedder(settings, files_for(settings, models))
    texts = texts_of(asked.texts)
    alone = one_by_one(engine, texts)
    clock = time.monotonic if engine.loaded.device == "cuda" else time.process_time
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    theirs: list[float] = []
    for _ in range(asked.rounds):  # in turns: what else the machine does meets all of them
        theirs.append(rate_of(alone, asked.seconds, clock))
        for size in SIZES:
            rates[size].append(asyncio.run(rate_in_batches(engine, texts, size, asked.seconds, clock)))
    expected = np.stack([alone(number) for number in range(32)])
    found = asyncio.run(engine.embed(EmbedRequest(texts=tuple(texts[:32]))))
    apart = float(np.abs(np.frombuffer(found.data, "<f4").reshape(32, -1) - expected).max())
    engine.close()
    base = statistics.median(theirs)
    figures = [
        Figure(
            f"{size} texts a request", statistics.median(rates[size]), base, "texts/s", _goal(size), note="theirs: one by one"
        )
        for size in SIZES
    ]
    figures.append(Figure("largest difference of a component", apart, None, "", "ours <= 0.0001"))
    device = engine.loaded.device
    return (
        0
        if publish("transformers_batching", figures, model=asked.model, device=device, rounds={**rates, "theirs": theirs})
        else 1
    )


def _goal(size: int) -> str:
    return "ratio >= 1.0" if size >= 128 else "ratio >= 0.8"


if __name__ == "__main__":
    raise SystemExit(main())
