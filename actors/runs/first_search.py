"""A search that nobody asked for, made as soon as all that it needs answers: the first one pays for imports, for finding the
embedder's replicas and for cold pages (0.7 s), and nobody should wait for that."""

import asyncio
import contextlib
import logging

from actors.runs.search import Searcher
from perenne import names
from perenne.directory import Directory
from perenne.errors import PerenneError
from perenne.messages.models import EmbedRequest
from perenne.messages.records import User
from perenne.messages.search import SearchRequest
from perenne.store import Store

log = logging.getLogger(__name__)

_QUERY = "When was it built, and by whom?"
_AGAIN_S = (
    0.25,
    30.0,
)  # first and longest pause between looks at an embedder that is away; weights may be on their way for long
_WITHIN_S = 5.0
_TRIES = 6  # searches that found a shard or the readers away, until the first user's is the first


async def make_first_search(directory: Directory, store: Store, searcher: Searcher) -> None:
    """Search once as the first user, over all that is theirs, and find the language model. Waits for the embedder as long as it
    takes; never raises a PerenneError."""
    pause_s, tries = _AGAIN_S[0], 0
    while tries < _TRIES:
        if await _embedder_answers(directory):
            tries += 1
            if await _searched(store, searcher):
                break
        await asyncio.sleep(pause_s)
        pause_s = min(_AGAIN_S[1], pause_s * 1.5)
    with contextlib.suppress(PerenneError):
        await directory.call(names.LANGUAGE, "state", timeout_s=_WITHIN_S)


async def _embedder_answers(directory: Directory) -> bool:
    request = EmbedRequest(texts=(_QUERY,), kind="query")
    try:
        await directory.call(names.EMBEDDING, "embed", timeout_s=_WITHIN_S, request=request)
    except PerenneError:
        return False
    return True


async def _searched(store: Store, searcher: Searcher) -> bool:
    try:
        users: tuple[User, ...] = await store.read("users", deadline_s=_WITHIN_S)
        if users:
            found = await searcher.search(SearchRequest(user_id=users[0].id, query=_QUERY))
            log.info("the first search took %.0f ms%s", found.took_ms, f": {found.degraded}" if found.degraded else "")
            return found.degraded is None
    except PerenneError as error:
        log.info("the first search failed: %s", error)
        return False
    return True
