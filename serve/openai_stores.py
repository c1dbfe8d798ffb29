"""`/v1/vector_stores` on projects: a vector store is a project, its files are the project's documents, and their state is true."""

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from perenne import names
from perenne.ids import new_id
from perenne.messages.commands import CreateProject, DeleteProject, LinkDocument, RenameProject
from perenne.messages.records import DocumentState, Page, Project, ProjectFigures
from perenne.messages.search import Hit, SearchRequest, SearchResponse
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.openai_bodies import StoreSearchBody, VectorStoreBody, VectorStoreChange, refuse_unkept
from serve.openai_lists import AfterId, Order, cut, every, listed

_SEARCH_WITHIN_S = 10.0


def counts_of(states: dict[DocumentState, int]) -> dict[str, int]:
    """How many files are where, from how many documents are in which state."""
    in_progress = states.get("queued", 0) + states.get("indexing", 0)
    failed = states.get("refused", 0) + states.get("failed", 0)
    total = sum(states.values())
    return {
        "in_progress": in_progress,
        "completed": states.get("indexed", 0),
        "failed": failed,
        "cancelled": 0,
        "total": total,
    }


async def bodies_of(ask: Asking, projects: list[Project]) -> list[dict[str, Any]]:
    """Projects as vector stores."""
    ids = tuple(project.id for project in projects)
    figures: dict[str, ProjectFigures] = await ask.store.read("project_figures", user_id=ask.user_id, project_ids=ids)
    return [_body(project, figures.get(project.id, ProjectFigures())) for project in projects]


def _body(project: Project, figures: ProjectFigures) -> dict[str, Any]:
    counts = counts_of(figures.states)
    return {
        "id": project.id,
        "object": "vector_store",
        "created_at": int(project.created_at),
        "name": project.name,
        "usage_bytes": figures.size_bytes,
        "file_counts": counts,
        "status": "in_progress" if counts["in_progress"] else "completed",
        "expires_after": None,
        "expires_at": None,
        "last_active_at": int(figures.updated_at or project.created_at),
        "metadata": {},
    }


async def _answer(ask: Asking, project: Project) -> Response:
    (body,) = await bodies_of(ask, [project])
    return json_answer(body)


async def link(ask: Asking, project_id: str, file_ids: list[str]) -> None:
    """Put files into a store, each of them or none that comes after one that is not there."""
    ask.caller.need_all_projects()
    for number, file_id in enumerate(file_ids):
        await ask.store.write(
            LinkDocument(
                command_id=f"{ask.command_id}:{number}", user_id=ask.user_id, document_id=file_id, project_id=project_id
            )
        )


async def create_store(ask: Writing, body: VectorStoreBody | None = None) -> Response:
    """Make a project. A name that you have already is a conflict; without one it is given one."""
    asked = body or VectorStoreBody()
    asked.checked()
    ask.caller.need_all_projects()
    for file_id in asked.file_ids:
        await ask.caller.document(ask.store, file_id)
    name = asked.name or new_id("vector-store")
    command = CreateProject(command_id=ask.command_id, user_id=ask.user_id, project_id=ask.id("prj"), name=name)
    project: Project = await ask.store.write(command)
    await link(ask, project.id, asked.file_ids)
    return await _answer(ask, project)


async def list_stores(
    ask: Reading,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    after: AfterId = None,
    before: AfterId = None,
) -> Response:
    """Your projects as vector stores, newest first unless `order` is `asc`."""

    async def read(count: int, place: str | None) -> Page[Project]:
        return await ask.store.read("projects", user_id=ask.user_id, limit=count, after=place)

    own = ask.caller.key.project_id
    rows = [project for project in await every(read) if own in (None, project.id)]
    found, more = cut(rows if order == "asc" else rows[::-1], limit, after, before)
    return json_answer(listed(await bodies_of(ask, found), more))


async def get_store(ask: Reading, store_id: str) -> Response:
    """One vector store."""
    return await _answer(ask, await ask.caller.project(ask.store, store_id))


async def change_store(ask: Writing, store_id: str, body: VectorStoreChange | None = None) -> Response:
    """Rename it."""
    asked = body or VectorStoreChange()
    refuse_unkept(metadata=asked.metadata, expires_after=asked.expires_after)
    project = await ask.caller.project(ask.store, store_id)
    if asked.name is not None:
        command = RenameProject(command_id=ask.command_id, user_id=ask.user_id, project_id=project.id, name=asked.name)
        project = await ask.store.write(command)
    return await _answer(ask, project)


async def delete_store(ask: Writing, store_id: str) -> Response:
    """Delete the project, and its files that are in no other."""
    ask.caller.need_all_projects()
    project = await ask.caller.project(ask.store, store_id)
    await ask.store.write(DeleteProject(command_id=ask.command_id, user_id=ask.user_id, project_id=project.id))
    return json_answer({"id": project.id, "object": "vector_store.deleted", "deleted": True})


async def search_store(ask: Reading, store_id: str, body: StoreSearchBody) -> Response:
    """The passages that bear on the query, best first."""
    query = body.checked()
    project = await ask.caller.project(ask.store, store_id)
    request = SearchRequest(user_id=ask.user_id, query=query, project_id=project.id, k=body.max_num_results)
    found: SearchResponse = await ask.edge.directory.call(names.RUN_HOST, "search", timeout_s=_SEARCH_WITHIN_S, request=request)
    data = [_hit(hit) for hit in found.hits if hit.score >= body.least_score()]
    return json_answer(
        {
            "object": "vector_store.search_results.page",
            "search_query": [query],
            "data": data,
            "has_more": False,
            "next_page": None,
        }
    )


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "file_id": hit.document_id,
        "filename": hit.title,
        "score": hit.score,
        "attributes": {},
        "content": [{"type": "text", "text": hit.text}],
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
    }
