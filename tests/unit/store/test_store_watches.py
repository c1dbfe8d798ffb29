"""Watched folders in the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store import watches
from perenne.errors import Conflict, NotFound
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path)
    made.do(c.CreateUser, user_id=c.SYSTEM_USER, new_user_id="ana", name="Ana")
    made.do(c.CreateUser, user_id=c.SYSTEM_USER, new_user_id="bo", name="Bo")
    made.do(c.CreateProject, project_id="p", name="one")
    yield made
    made.close()


def add_file(house: StoreHouse, document_id: str, external_id: str) -> None:
    house.do(
        c.AddDocument,
        document_id=document_id,
        job_id=f"job-{document_id}",
        project_id="p",
        title=document_id,
        blob_hash=f"hash-{document_id}",
        size_bytes=1,
        external_id=external_id,
    )


def test_a_watch_is_its_users_and_is_listed_for_who_watches(house: StoreHouse) -> None:
    made = house.do(c.AddWatch, watch_id="wat_1", project_id="p", path="/data/papers", ignore=("*.tmp",), command_id="c1")
    assert (made.path, made.ignore) == ("/data/papers", ("*.tmp",))
    again = house.do(c.AddWatch, watch_id="wat_1", project_id="p", path="/data/papers", ignore=("*.tmp",), command_id="c1")
    assert again == made
    assert house.ask(watches.list_watches, "ana") == house.ask(watches.list_watches, None) == (made,)
    assert house.ask(watches.list_watches, "bo") == ()
    with pytest.raises(Conflict):
        house.do(c.AddWatch, watch_id="wat_2", project_id="p", path="/data/papers")
    with pytest.raises(NotFound):
        house.do(c.AddWatch, user_id="bo", watch_id="wat_2", project_id="p", path="/data/papers")
    with pytest.raises(NotFound):
        house.do(c.RemoveWatch, user_id="bo", watch_id="wat_1")
    house.do(c.RemoveWatch, watch_id="wat_1")
    assert house.ask(watches.list_watches, None) == ()


def test_a_project_takes_its_watches_with_it(house: StoreHouse) -> None:
    house.do(c.AddWatch, watch_id="wat_1", project_id="p", path="/data/papers")
    house.do(c.DeleteProject, project_id="p")
    assert house.ask(watches.list_watches, None) == ()


def test_the_files_of_a_folder_are_its_own_by_pages(house: StoreHouse) -> None:
    for number, external_id in enumerate(("wat_1/a.txt", "wat_1/b/ñ.txt", "wat_1/c.txt", "wat_10/d.txt", "wat_1", "x")):
        add_file(house, f"d{number}", external_id)
    page = house.ask(watches.watched_files, "ana", "wat_1", 2, None)
    assert [(file.path, file.document_id) for file in page.items] == [("a.txt", "d0"), ("b/ñ.txt", "d1")]
    rest = house.ask(watches.watched_files, "ana", "wat_1", 2, page.next)
    assert ([file.path for file in rest.items], rest.next) == (["c.txt"], None)
    assert house.ask(watches.watched_files, "bo", "wat_1", 10, None).items == ()
