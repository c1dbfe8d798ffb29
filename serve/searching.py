"""The route of search."""

from starlette.responses import Response

from perenne import names
from perenne.messages.search import Filters, SearchRequest, SearchResponse
from serve.answers import json_answer
from serve.asking import Reading
from serve.bodies import SearchBody

_WITHIN_S = 10.0


async def search(ask: Reading, body: SearchBody) -> Response:
    """The passages that bear on the query, best first."""
    request = SearchRequest(
        user_id=ask.user_id,
        query=body.query,
        project_id=await ask.caller.project_id(ask.store, body.project),
        k=body.k,
        filters=Filters() if body.filters is None else body.filters.filters(),
    )
    found: SearchResponse = await ask.edge.directory.call(names.RUN_HOST, "search", timeout_s=_WITHIN_S, request=request)
    return json_answer(found)
