"""Lists of texts through an engine: what it can take of each, and batches of like lengths, one at a time in the line."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar

from actors.models.inference_thread import InferenceThread, Job

T = TypeVar("T")

BATCH_TEXTS = 32  # texts of one run of the model
BATCH_CHARS = 16_000  # and their characters, padding counted
TEXTS_MAX = 2_048  # texts of one request
TEXT_CHARS_MAX = 20_000  # of a text: what is beyond is not read
QUERY, PASSAGE = 0, 1  # in the line: a query goes before passages that wait


def cleaned(text: str) -> str:
    """What a tokenizer can take: lone surrogates have no UTF-8, a NUL would end the string."""
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode("utf-8").replace("\0", " ")


def batches(lengths: Sequence[int], texts_max: int = BATCH_TEXTS, chars_max: int = BATCH_CHARS) -> list[tuple[int, ...]]:
    """Places of the texts, like lengths together, in batches of at most so many texts and characters once padded to the longest."""
    found: list[tuple[int, ...]] = []
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) >= texts_max or (len(batch) + 1) * lengths[place] > chars_max):
            found.append(tuple(batch))
            batch = []
        batch.append(place)
    if batch:
        found.append(tuple(batch))
    return found


async def run_batches(
    thread: InferenceThread, wanted: Sequence[tuple[int, ...]], priority: int, run: Callable[[tuple[int, ...]], T]
) -> AsyncGenerator[tuple[tuple[int, ...], T], None]:
    """Each batch's places and what `run` made of them in the thread. Busy when the line is full at the first batch; a list that
    was let in is never refused, and between two of its batches others have their turn."""
    for number, batch in enumerate(wanted):
        job: Job[T] = thread.submit(lambda job, batch=batch: job.emit(run(batch)), priority=priority, admitted=number > 0)
        async for answer in job.items():
            if answer is not None:
                yield batch, answer
        await asyncio.sleep(0)
