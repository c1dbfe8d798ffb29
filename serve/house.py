"""Routes that tell how the house is: probes, the tree, the models."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from perenne import names
from perenne.errors import PerenneError, Unavailable
from perenne.messages.models import ModelState
from serve.answers import json_answer
from serve.asking import Reading, edge_of
from serve.views import Me

_STATE_WITHIN_S = 1.5
_KEY_WITHIN_S = 1.0  # a database that is being migrated knows no key for minutes, and a probe wants its answer now


async def livez() -> Response:
    """This replica answers."""
    return json_answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether all that answering needs is up; a caller with a key is told what is not."""
    edge = await edge_of(request)
    status = await edge.status()
    body: dict[str, object] = {"ready": status.ready}
    authorization = request.headers.get("authorization")
    if authorization:
        try:
            async with asyncio.timeout(_KEY_WITHIN_S):
                await edge.keyring.caller(authorization)
            body["reasons"], body["notices"] = status.reasons, status.notices
        except TimeoutError:
            body["reasons"] = (f"the key could not be checked: the database did not answer within {_KEY_WITHIN_S:g} s",)
        except PerenneError as error:
            body["reasons"] = (f"the key could not be checked: {error}",)
    headers = {} if status.ready else {"Retry-After": "1"}
    return json_answer(body, 200 if status.ready else 503, headers)


async def get_status(ask: Reading) -> Response:
    """The tree of processes, and what is wrong with it."""
    return json_answer(await ask.edge.status())


async def get_me(ask: Reading) -> Response:
    """Who you are, and your key."""
    return json_answer(Me(user_id=ask.user_id, key=ask.caller.key))


async def list_models(ask: Reading) -> Response:
    """Where each model is: downloading, loading, ready."""

    async def state(name: str, model_id: str) -> ModelState:
        try:
            return await ask.edge.directory.call(name, "state", timeout_s=_STATE_WITHIN_S)
        except Unavailable as error:
            return ModelState(role=name, model_id=model_id, phase="loading", detail=str(error))
        except PerenneError as error:
            return ModelState(role=name, model_id=model_id, phase="failed", detail=str(error))

    settings = ask.edge.settings
    wanted = {names.LANGUAGE: settings.language, names.EMBEDDING: settings.embedding, names.RERANKING: settings.reranking}
    states = await asyncio.gather(*(state(role, model.model) for role, model in wanted.items() if model is not None))
    return json_answer(tuple(states))


async def warm_language(ask: Reading) -> Response:
    """Have the language model loaded by the time of the first question."""
    ask.edge.errand(ask.edge.directory.call(names.LANGUAGE, "warm", timeout_s=120.0))
    return json_answer({"status": "asked"}, 202)
