"""The filter columns that documents share: whose they are, in which projects, and whether they still count.

Each version of a document has a code of its own, and each row of the index names the code it belongs to. Replacing or deleting a
document only marks its code dead, which is what makes tombstones cheap: no row is touched, and a filter is one lookup by code.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.index.column import Column

DEAD = 0  # the code of rows that nobody owns any more
_GONE = -1  # a membership that ended
Mask = NDArray[np.bool_]


class DocumentTable:
    """Codes of live and dead document versions. Not thread-safe: its shard holds the lock."""

    def __init__(self) -> None:
        self._ids: list[str] = [""]
        self._code_of: dict[str, int] = {}
        self._user_code: dict[str, int] = {}
        self._project_code: dict[str, int] = {}
        self._user = Column(np.int32, values=np.array([-1]))
        self._live = Column(np.bool_, values=np.array([False]))
        self._rows = Column(np.int64, values=np.array([0]))
        self._pair_document = Column(np.int32)
        self._pair_project = Column(np.int32)

    def __len__(self) -> int:
        return len(self._code_of)

    @property
    def live_rows(self) -> int:
        return int(self._rows.view()[self._live.view()].sum())

    @property
    def dead_rows(self) -> int:
        return int(self._rows.view()[~self._live.view()].sum())

    def code(self, document_id: str) -> int | None:
        """The code of the version that counts."""
        return self._code_of.get(document_id)

    def open(self, document_id: str, user_id: str, project_ids: Sequence[str]) -> int:
        """Begin a version; the one before is dead."""
        self.kill(document_id)
        code = len(self._ids)
        self._ids.append(document_id)
        self._code_of[document_id] = code
        self._user.extend([self._user_code.setdefault(user_id, len(self._user_code))])
        self._live.extend([True])
        self._rows.extend([0])
        self._join(code, project_ids)
        return code

    def _join(self, code: int, project_ids: Sequence[str]) -> None:
        for project_id in dict.fromkeys(project_ids):
            self._pair_document.extend([code])
            self._pair_project.extend([self._project_code.setdefault(project_id, len(self._project_code))])

    def place(self, code: int, project_ids: Sequence[str]) -> None:
        """The document is in exactly these projects from now on."""
        pairs = self._pair_document.view() == code
        self._pair_project.view()[pairs] = _GONE
        self._join(code, project_ids)

    def count(self, code: int, rows: int) -> None:
        self._rows.view()[code] += rows

    def kill(self, document_id: str) -> bool:
        """End the version that counts; whether rows died with it."""
        code = self._code_of.pop(document_id, None)
        if code is None:
            return False
        self._live.view()[code] = False
        return bool(self._rows.view()[code] > 0)

    def live(self) -> Mask:
        """By code, whether it counts; a copy."""
        return self._live.view().copy()

    def allowed(self, user_id: str, project_ids: Sequence[str], document_ids: Sequence[str] = ()) -> Mask | None:
        """By code, whether its rows may be seen; None when none may. A document must be the user's, in one of the projects
        and, where any are given, one of the documents."""
        user = self._user_code.get(user_id)
        projects = [code for project_id in project_ids if (code := self._project_code.get(project_id)) is not None]
        if user is None or not projects:
            return None
        wanted = np.zeros(len(self._project_code) + 1, dtype=np.bool_)  # the last one is where _GONE looks
        wanted[projects] = True
        mask = np.zeros(len(self._ids), dtype=np.bool_)
        mask[self._pair_document.view()[wanted[self._pair_project.view()]]] = True
        mask &= self._live.view()
        mask &= self._user.view() == user
        if document_ids:
            named = np.zeros(len(self._ids), dtype=np.bool_)
            named[[code for each in document_ids if (code := self._code_of.get(each)) is not None]] = True
            mask &= named
        return mask if mask.any() else None

    def compacted(self) -> "tuple[DocumentTable, NDArray[np.int32]]":
        """The same without dead versions and ended memberships, and the new code of each old one (DEAD for the dead)."""
        table = DocumentTable()
        renumbered = np.zeros(len(self._ids), dtype=np.int32)
        live = self._live.view()
        kept = np.flatnonzero(live)
        renumbered[kept] = np.arange(1, len(kept) + 1)
        table._ids += [self._ids[code] for code in kept]
        table._code_of = {document_id: n for n, document_id in enumerate(table._ids) if n}
        users, projects = list(self._user_code), list(self._project_code)
        table._user.extend(_recoded(self._user.view()[kept], users, table._user_code))
        table._live.extend(np.ones(len(kept), dtype=np.bool_))
        table._rows.extend(self._rows.view()[kept])
        documents, memberships = self._pair_document.view(), self._pair_project.view()
        held = live[documents] & (memberships != _GONE)
        table._pair_document.extend(renumbered[documents[held]])
        table._pair_project.extend(_recoded(memberships[held], projects, table._project_code))
        return table, renumbered

    def columns(self) -> dict[str, Any]:
        """A compacted table as lists, for a snapshot."""
        return {
            "documents": self._ids[1:],
            "users": list(self._user_code),
            "projects": list(self._project_code),
            "user": self._user.view()[1:].tolist(),
            "rows": self._rows.view()[1:].tolist(),
            "pair_document": self._pair_document.view().tolist(),
            "pair_project": self._pair_project.view().tolist(),
        }

    @classmethod
    def from_columns(cls, columns: dict[str, Any]) -> "DocumentTable":
        """What `columns` gave."""
        table = cls()
        table._ids += columns["documents"]
        table._code_of = {document_id: n for n, document_id in enumerate(table._ids) if n}
        table._user_code = {user: n for n, user in enumerate(columns["users"])}
        table._project_code = {project: n for n, project in enumerate(columns["projects"])}
        table._user.extend(columns["user"])
        table._live.extend(np.ones(len(columns["documents"]), dtype=np.bool_))
        table._rows.extend(columns["rows"])
        table._pair_document.extend(columns["pair_document"])
        table._pair_project.extend(columns["pair_project"])
        return table


def _recoded(codes: NDArray[Any], names: list[str], into: dict[str, int]) -> NDArray[np.int32]:
    """Codes numbered anew, so that names which nothing uses any more are forgotten."""
    distinct, places = np.unique(codes, return_inverse=True)
    fresh = np.array([into.setdefault(names[code], len(into)) for code in distinct], dtype=np.int32)
    return fresh[places] if len(distinct) else np.empty(0, dtype=np.int32)
