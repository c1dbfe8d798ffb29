"""nDCG@10 of hybrid search and of each half alone, through the real cores: `python -m benchmarks.retrieval --samples DIR`.

Questions that fitted the weights are left out. Everything is in one project, so that a question in one language has to find
its passage among both. Writes build/bench/retrieval.json."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np

from actors.runs.fuse import Half, fuse
from actors.runs.search import Candidates, Searcher
from benchmarks.fit_fusion import fits, questions_of
from benchmarks.house import USER, House, ndcg, report, samples_of
from perenne.messages.search import SearchRequest

WAYS = ("fused", "words", "meaning", "fused without meaning", "fused without words")


def ranked(found: Candidates, way: str) -> list[str]:
    """External ids in the order of one way."""
    id_of = {chunk.id: chunk.external_id or "" for chunk in found.chunks}

    def alone(half: Half | None) -> list[str]:
        scores = half.scores if half else {}
        return [id_of[one] for one in sorted(scores, key=lambda one: -scores[one]) if one in id_of]

    if way == "words":
        return alone(found.lexical)
    if way == "meaning":
        return alone(found.dense)
    lexical = None if way == "fused without words" else found.lexical
    dense = None if way == "fused without meaning" else found.dense
    return [id_of[chunk.id] for chunk, _ in fuse(found.question, found.chunks, found.passages, lexical, dense)]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples")
    parser.add_argument("--models", default="build/models", type=Path)
    parser.add_argument("--home", type=Path, help="keep the instance here and use it again")
    parser.add_argument("--most", type=int, default=100_000, help="questions of one collection")
    given = parser.parse_args()
    samples = samples_of(given.samples)
    house = House(given.home or Path(tempfile.mkdtemp(prefix="perenne-retrieval-")), given.models.resolve())
    await house.begin()
    project = await house.mixed(samples)
    searcher = Searcher(house.directory, house.store, house.settings)
    figures: list[dict[str, object]] = []
    bins: list[tuple[float, float]] = []
    for name, questions in questions_of(samples).items():
        chosen = [one for one in questions if not fits(one["_id"], name)][: given.most]
        scores: dict[str, list[float]] = {way: [] for way in WAYS}
        took: list[float] = []
        for one in chosen:
            began = time.perf_counter()
            request = SearchRequest(user_id=USER, query=one["text"], project_id=project, k=20)
            found = await searcher.candidates(request)
            top = fuse(found.question, found.chunks, found.passages, found.lexical, found.dense)[:10]
            took.append((time.perf_counter() - began) * 1000.0)
            bins.extend((score, float(chunk.external_id == one["gold"])) for chunk, score in top)
            for way in WAYS:
                scores[way].append(ndcg(ranked(found, way), {one["gold"]: 1}))
        means = {way: float(np.mean(scores[way])) for way in WAYS}
        better = max(means["words"], means["meaning"])
        print(
            f"{name:12} {len(chosen):5} " + "  ".join(f"{way} {mean:.3f}" for way, mean in means.items()),
            f"{np.median(took):.0f} ms",
        )
        figures.append(
            {
                "figure": f"nDCG@10 {name}, {len(chosen)} questions",
                "ours": round(means["fused"], 4),
                "theirs": round(better, 4),
                "ratio": round(means["fused"] / better, 4),
                "goal": ">= the better half",
                "met": means["fused"] >= better,
                "ways": {way: round(mean, 4) for way, mean in means.items()},
                "p50_ms": round(float(np.median(took)), 1),
            }
        )
    calibration = np.array(bins)
    for low in np.arange(0.0, 1.0, 0.2):
        inside = calibration[(calibration[:, 0] >= low) & (calibration[:, 0] < low + 0.2 + 1e-9)]
        if len(inside):
            print(f"score {low:.1f}-{low + 0.2:.1f}: {len(inside):6} passages, {inside[:, 1].mean():.3f} relevant")
    report("retrieval", figures)


if __name__ == "__main__":
    asyncio.run(main())
