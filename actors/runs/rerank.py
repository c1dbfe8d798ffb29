"""A better order for what a search found, by a model that reads each passage together with the question: where one is configured."""

import logging

from perenne import names
from perenne.directory import Directory
from perenne.errors import EngineFailed, PerenneError
from perenne.messages.models import RerankRequest, RerankScores
from perenne.messages.records import Chunk

log = logging.getLogger(__name__)

READ_MAX = 30  # passages that are read, from the best on; what follows stays in its place behind them
WITHIN_S = 1.5  # for all of them; a search waits no longer


async def reranked(
    directory: Directory, query: str, found: list[tuple[Chunk, float]]
) -> tuple[list[tuple[Chunk, float]], str | None]:
    """The passages in the reranker's order, each with the score that it had: that one is calibrated, the reranker's is not. When it is
    away, late or fails: as they were, and why."""
    read = found[:READ_MAX]
    request = RerankRequest(query=query, texts=tuple(chunk.text for chunk, _ in read))
    try:
        answer: RerankScores = await directory.call(names.RERANKING, "rerank", timeout_s=WITHIN_S, request=request)
        if len(answer.scores) != len(read):
            raise EngineFailed(names.RERANKING, f"asked for {len(read)} scores, got {len(answer.scores)}")
    except PerenneError as error:
        log.info("not reranked: %s", error)
        return found, f"not reranked: {error}"
    order = sorted(range(len(read)), key=lambda place: -answer.scores[place])  # stable: equals stay as they were
    return [*(read[place] for place in order), *found[READ_MAX:]], None
