"""Who asks: the key behind a request, and what a key that is limited to one project may see."""

from dataclasses import dataclass
from typing import Any

from perenne.errors import Forbidden, NotFound
from perenne.messages.commands import OWNER
from perenne.messages.records import Conversation, Document, Job, Key, Message, Project, Run, Scope
from perenne.store import Store


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a valid key."""

    key: Key
    secret: str
    key_hash: str

    @property
    def user_id(self) -> str:
        return self.key.user_id

    def need(self, scope: Scope) -> None:
        """Forbidden unless the key has the scope."""
        if scope not in self.key.scopes:
            raise Forbidden(scope)

    def need_nothing_beyond(self, document: Document) -> None:
        """Forbidden for a key that is limited to one project, when the document is in others too."""
        if len(document.project_ids) > 1:
            self.need_all_projects()

    def need_all_projects(self) -> None:
        """Forbidden for a key that is limited to one project."""
        if self.key.project_id is not None:
            raise Forbidden("all projects")

    def need_owner(self) -> None:
        """Forbidden for a key of another user's, or one that is limited to a project: what is asked for is the whole instance's."""
        self.need_all_projects()
        if self.user_id != OWNER:
            raise Forbidden("owner")

    async def project(self, store: Store, project: str) -> Project:
        """The caller's project of that id or name."""
        found: Project = await store.read("project", user_id=self.user_id, project=project)
        if self.key.project_id not in (None, found.id):
            raise NotFound("project", project)
        return found

    async def project_id(self, store: Store, project: str | None) -> str | None:
        """The id of the project asked for; None (all of them) becomes the key's own project when it has one."""
        if project is None:
            return self.key.project_id
        return (await self.project(store, project)).id

    async def document(self, store: Store, document_id: str) -> Document:
        found: Document = await store.read("document", user_id=self.user_id, document_id=document_id)
        if self.key.project_id is not None and self.key.project_id not in found.project_ids:
            raise NotFound("document", document_id)
        return found

    async def job(self, store: Store, job_id: str) -> Job:
        return self._inside("job", job_id, await store.read("job", user_id=self.user_id, job_id=job_id))

    async def conversation(self, store: Store, conversation_id: str) -> Conversation:
        found = await store.read("conversation", user_id=self.user_id, conversation_id=conversation_id)
        return self._inside("conversation", conversation_id, found)

    async def message(self, store: Store, message_id: str) -> Message:
        """A message of a conversation that the key reaches."""
        found: Message = await store.read("message", user_id=self.user_id, message_id=message_id)
        if self.key.project_id is not None:
            try:
                await self.conversation(store, found.conversation_id)
            except NotFound:
                raise NotFound("message", message_id) from None
        return found

    async def run(self, store: Store, run_id: str) -> Run:
        return self._inside("run", run_id, await store.read("run", user_id=self.user_id, run_id=run_id))

    def _inside(self, kind: str, id: str, found: Any) -> Any:
        if self.key.project_id not in (None, found.project_id):
            raise NotFound(kind, id)
        return found
