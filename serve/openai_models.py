"""`/v1/models` and `/v1/embeddings`."""

import base64
import time
from array import array
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from perenne import names
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.messages.records import Page, Project
from serve.answers import json_answer
from serve.asking import LIST_MAX, Asking, Reading
from serve.live import while_welcome
from serve.openai_bodies import EmbeddingBody
from serve.openai_chat import GROUNDED, project_of
from serve.openai_generating import language_ids

_EMBED_WITHIN_S = 60.0


def _model(id: str, created: float, **more: Any) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": int(created), "owned_by": "perenne", **more}


async def _projects(ask: Asking) -> tuple[Project, ...]:
    own = ask.caller.key.project_id
    if own is not None:
        return (await ask.caller.project(ask.store, own),)
    page: Page[Project] = await ask.store.read("projects", user_id=ask.user_id, limit=LIST_MAX, after=None)
    return page.items


async def list_models(ask: Reading) -> Response:
    """The model ids that a chat may name."""
    settings, born = ask.edge.settings, _BORN
    models = [_model(GROUNDED, born)]
    models += [_model(f"{GROUNDED}:{project.name}", project.created_at) for project in await _projects(ask)]
    models += [_model(settings.language.model, born), _model(settings.embedding.model, born)]
    return json_answer({"object": "list", "data": models})


async def get_model(ask: Reading, model: str) -> Response:
    """One model id."""
    settings = ask.edge.settings
    grounded, project = project_of(model)
    if grounded and project is not None:
        await ask.caller.project(ask.store, project)
    elif not grounded and model not in (*language_ids(settings), settings.embedding.model, names.EMBEDDING):
        raise NotFound("model", model)
    return json_answer(_model(model, _BORN))


_BORN = time.time()


async def embeddings(ask: Reading, body: EmbeddingBody, request: Request) -> Response:
    """OpenAI's embeddings, as floats or base64 of little-endian float32."""
    if body.model not in (ask.edge.settings.embedding.model, names.EMBEDDING):
        raise NotFound("model", body.model)
    texts = EmbedRequest(texts=body.texts())
    found: Embeddings = await while_welcome(
        request, ask.key_ended, ask.edge.directory.call(names.EMBEDDING, "embed", timeout_s=_EMBED_WITHIN_S, request=texts)
    )
    if body.dimensions not in (None, found.dimension):
        raise InvalidRequest(f"dimensions: expected {found.dimension}, got {body.dimensions}", "dimensions")
    width = found.dimension * 4
    rows = [found.data[n * width : (n + 1) * width] for n in range(found.count)]
    if body.encoding_format == "base64":
        vectors: list[Any] = [base64.b64encode(row).decode() for row in rows]
    else:
        vectors = [array("f", row).tolist() for row in rows]
    return json_answer(
        {
            "object": "list",
            "model": body.model,
            "data": [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
        }
    )
