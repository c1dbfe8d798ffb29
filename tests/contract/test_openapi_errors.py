"""The OpenAPI document and what goes wrong: each error that a part of the house may raise is raised behind every route under `/api`,
and the status that its caller gets must be one that the document has for that route."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from perenne import errors, names
from perenne.store import Store
from serve.errors import described, status_of
from tests.contract.edge_house import House, house_in
from tests.contract.test_edge_matrix import KEYED, Operation, example_of, send, stocked

API = [operation for operation in KEYED if operation.path.startswith("/api/")]
HASTY_S = 0.1  # instead of half a minute, in which what is away is asked again

AWAY = (errors.Unavailable("it", 0.1, "it restarts"), errors.DeadlineExceeded("it", 1.0))
FULL = errors.StorageFailed("no space left on the device")
BUSY = errors.Busy("it", 0.1)
LATE = (errors.ModelNotReady("embedding", "loading", 0.5), errors.WeightsUnavailable("embedding", "no source"))
BROKEN = (errors.EngineFailed("onnx", "it broke"), errors.ConfigurationError("reranking: expected a model, got none"))
NONE, WRONG = errors.NotFound("thing", "x"), errors.InvalidRequest("it can't be", "x")
CLASH, LARGE = errors.Conflict("it stands elsewhere"), errors.TooLarge("it", 2, 1)
MANY, OTHER = errors.QuotaExceeded("unfinished uploads", 2, 1), errors.ChecksumMismatch("the bytes have another sha256")
SEALED = (errors.BackupDamaged("repository.json", "it is cut short"), errors.WrongPassphrase("it is encrypted"))
DEFECT = RuntimeError("a defect")
WRITES = (NONE, WRONG, CLASH, errors.CommandReused("cmd_1"), BUSY, *AWAY, FULL)

# What each part may raise, in which of its calls (no name: in all): as their own docstrings have it. In this order an upload goes on
# until it is whole.
RAISED: tuple[tuple[str, frozenset[str], tuple[Exception, ...]], ...] = (
    ("StoreReader", frozenset(), (NONE, WRONG, *AWAY)),
    ("BlobStore", frozenset({"stat", "read", "upload", "uploads"}), (NONE, *AWAY, FULL)),
    ("BlobStore", frozenset({"begin", "append", "commit"}), (NONE, WRONG, CLASH, LARGE, BUSY, *AWAY, FULL)),
    ("BlobStore", frozenset({"create_upload"}), (CLASH, LARGE, MANY, BUSY, *AWAY, FULL)),
    ("BlobStore", frozenset({"claim_upload", "write_upload", "advance_upload"}), (NONE, CLASH, LARGE, *AWAY, FULL)),
    ("BlobStore", frozenset({"finish_upload"}), (NONE, CLASH, OTHER, *AWAY, FULL)),
    ("BlobStore", frozenset({"drop_upload"}), (*AWAY, FULL)),
    (names.RUN_HOST, frozenset({"search"}), (NONE, WRONG, BUSY, *AWAY, *LATE, *BROKEN)),
    (names.INGEST_HOST, frozenset({"check_folder", "keep_password"}), (WRONG, BUSY, *AWAY)),
    (names.STORE_WRITER, frozenset({"submit"}), WRITES),
    (names.BACKUP_KEEPER, frozenset({"backups"}), (*SEALED, *AWAY, FULL)),
    (names.BACKUP_KEEPER, frozenset({"begin"}), (NONE, WRONG, BUSY, *SEALED, *AWAY, FULL)),
)
BEFORE_ALL = {errors.Unauthorized, errors.Forbidden, errors.RateLimited}  # of what stands before each route: `serve.guard`
OF_NO_ROUTE = {
    errors.LeaseLost,  # told to whoever works on a job
}


def every_kind() -> set[type[Exception]]:
    return {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PerenneError)}


def test_every_kind_of_error_is_raised_here_or_comes_before_every_route_or_reaches_none() -> None:
    raised = {type(error) for _, _, kinds in RAISED for error in kinds}
    assert not raised & (BEFORE_ALL | OF_NO_ROUTE)
    assert raised | BEFORE_ALL | OF_NO_ROUTE == every_kind() - {errors.PerenneError}


def test_what_comes_before_every_route_is_told_of_each() -> None:
    """The key is looked up in the store, so that what the store may raise comes before each of them too."""
    before = [errors.Unauthorized(), errors.Forbidden("read"), errors.RateLimited("this key", 1.0), *AWAY, DEFECT]
    assert len(API) > 50
    for operation in API:
        assert {status_of(error) for error in before} <= told(operation), operation


def told(operation: Operation) -> set[int]:
    return {int(status) for status in operation.told["responses"]}


@dataclass
class Trouble:
    """What goes wrong now: these calls of this owner raise this."""

    owner: str | None = None
    methods: frozenset[str] = frozenset()
    error: Exception = FULL
    called: set[tuple[str, str]] = field(default_factory=set)  # owners and methods, since somebody looked

    def meets(self, owner: str, method: str) -> bool:
        return owner == self.owner and method in (self.methods or {method}) and method != "key_by_hash"


class Troubled:
    """An owner to whom trouble comes. Nothing is written or dropped in any case: what the routes are asked about stays there."""

    def __init__(self, name: str, owner: Any, trouble: Trouble) -> None:
        self._name, self._owner, self._trouble = name, owner, trouble

    def __getattr__(self, method: str) -> Any:
        self._trouble.called.add((self._name, method))
        struck = self._trouble.meets(self._name, method)
        if not struck and method not in ("submit", "drop_upload"):
            return getattr(self._owner, method)

        async def fail(**_: Any) -> Any:
            raise copy(self._trouble.error if struck else FULL)  # one that is raised again and again drags all its ways along

        return fail


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, requests_per_minute=10**9, uploads_max=10**6) as house:
        yield house


async def begun(http: Any, ids: dict[str, str], length: int) -> str:
    """A new upload. One without a byte is whole at once."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
    answer = await http.post(f"/api/projects/{ids['project']}/uploads", headers=headers)
    return answer.raise_for_status().json()["id"]


Asked = tuple[Operation, dict[str, str], dict[str, Any]]


def asked(ids: dict[str, str], whole: str) -> Iterator[Asked]:
    """Every operation, with what to send it; those of an upload also on one that is whole."""
    for operation in API:
        body = operation.told.get("requestBody", {}).get("content", {})
        if "upload_id" in operation.holes:
            sent = {"content": b"123456789"} if operation.method in ("PATCH", "POST") else {}
            yield operation, ids, sent
            yield operation, {**ids, "upload_id": whole}, {}
        elif operation.path.endswith("/uploads") and operation.method == "POST":
            yield operation, ids, {}
            yield operation, ids, {"headers": {"Tus-Resumable": "1.0.0", "Upload-Length": "0"}}
        elif "application/json" in body and "project" in str(shown := example_of(operation).get("json")):
            yield operation, ids, {"json": {**shown, "project": ids["project"]}}
        else:
            yield operation, ids, {}


async def test_each_status_that_a_part_in_trouble_makes_a_route_answer_is_told_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await stocked(house, "owner", "troubled")
    files, reader, trouble = names.blob_store(house.settings.pc), names.store_reader(0), Trouble()
    full: set[tuple[str, str]] = set()
    async with house.http() as http:
        whole = await begun(http, ids, 0)
        for name in (names.STORE_WRITER, reader, files, names.RUN_HOST, names.INGEST_HOST, names.BACKUP_KEEPER):
            house.directory.put(name, Troubled(name, house.directory._owner(name), trouble))
        monkeypatch.setattr(Store.write, "__defaults__", (HASTY_S,))
        monkeypatch.setitem(Store.read.__kwdefaults__, "deadline_s", HASTY_S)
        monkeypatch.setattr("serve.blobs._TRIED_S", HASTY_S)

        async def answer(ask: Asked) -> str:
            """The code of the error that it answers, if it is one; whether its status is told is looked at."""
            operation, at, more = ask
            got = await send(http, operation, at, **more)
            assert got.status_code in told(operation), (operation.method, operation.path, trouble, got.text)
            if got.status_code == 507:
                full.add((operation.method, operation.path))
            return got.json()["error"]["code"] if got.status_code >= 400 and got.content else ""

        asks: list[tuple[Asked, set[tuple[str, str]]]] = []
        for ask in asked(ids, whole):
            trouble.called.clear()
            await answer(ask)
            asks.append((ask, set(trouble.called)))
        ids["upload_id"] = await begun(http, ids, 9)  # the other one has come whole
        for part, trouble.methods, kinds in RAISED:
            trouble.owner = next(owner for _, called in asks for owner, _ in called if owner.startswith(part))
            those = [ask for ask, called in asks if any(trouble.meets(*call) for call in called)]
            for trouble.error in kinds:
                codes = await asyncio.gather(*map(answer, those))
                assert described(trouble.error)["code"] in codes, trouble  # it came to a caller
    assert full == {(operation.method, operation.path) for operation in API if 507 in told(operation)}
