"""What a type checker sees of the sync client: `make check` runs pyright over this file, and a wrong type fails there."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

from perenne import Answer, SyncPerenne, connect_sync
from perenne.messages.commands import DocumentAdded
from perenne.messages.records import Change, Job, Page, Project, RunEvent

if TYPE_CHECKING:

    def told_to_a_type_checker(path: Path) -> None:
        with connect_sync("http://127.0.0.1:8000", key="pk_x") as client:
            assert_type(client, SyncPerenne)
            assert_type(client.projects(), tuple[Project, ...])
            assert_type(client.add(path, "work", title="A", on_progress=print), DocumentAdded)
            assert_type(client.jobs("work", limit=3), Page[Job])
            assert_type(client.ask("Why?", project="work"), Answer)
            assert_type(client.events("run_1", after=3), Generator[RunEvent])
            assert_type(client.changes(after=3), Generator[Change])
            client.search("x", limit=3)  # pyright: ignore[reportCallIssue]
            client.job(7)  # pyright: ignore[reportArgumentType]


def test_what_the_checker_is_told_is_there() -> None:
    assert connect_sync("http://127.0.0.1:1", key="pk_x").close() is None
