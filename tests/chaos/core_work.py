"""What a core does while the disk is at it: small, the same every time, each acknowledgement told as it comes.

A workload is given a folder and `tell`. `hold()` is where it waits until it is watched; what comes before is no part of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.uploads import Uploads
from actors.index.policy import Limits
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from actors.store.writer import WriterCore
from perenne import names
from perenne.errors import StorageFailed
from perenne.messages import commands as c
from tests.unit.index.index_model import Model, unit_vectors

SPEC = ShardSpec("space", "model")
LIMITS = Limits(kind="hnsw", graph_rows=16, tail_rows=16)  # a graph over a handful of rows
ANSWER_S = 20.0
MESSAGES = 6
BLOB_BYTES = 3 * 4096 + 17


@dataclass(frozen=True, slots=True)
class Told:
    """`tell` says what is acknowledged, `hold` waits for whoever watches."""

    tell: Callable[[str], None]
    hold: Callable[[], None]


def database_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'store' / 'perenne.db'}"


def commands() -> Iterator[c.Command]:
    """A user, a project, and questions in conversations: rows in a dozen tables and in the full-text index."""
    yield c.CreateUser(command_id="c-user", user_id=c.SYSTEM_USER, new_user_id="ana", name="ana")
    yield c.CreateProject(command_id="c-project", user_id="ana", project_id="home", name="home")
    for n in range(MESSAGES):
        yield c.PostMessage(
            command_id=f"c-message-{n}",
            user_id="ana",
            conversation_id=f"talk-{n}",
            message_id=f"question-{n}",
            reply_id=f"answer-{n}",
            run_id=f"run-{n}",
            project_id="home",
            text=f"What is in hall {n}, beside crate {n * 7}? " * 8,
        )


def write(core: WriterCore, told: Told) -> None:
    """Every command in a transaction of its own, told as it was answered: `ok`, or the kind of its error."""
    for command in commands():
        try:
            (outcome,) = core.submit((command,)).result(ANSWER_S)
            error = outcome.error
        except Exception as failure:
            error = failure
        told.tell(f"ok {command.command_id}" if error is None else f"no {command.command_id} {type(error).__name__}")


def writer(folder: Path, told: Told) -> None:
    """Open, write, close: which moves the log into the database."""
    core = WriterCore(database_of(folder))
    core.open()
    told.hold()
    write(core, told)
    core.close()


def writer_from_its_start(folder: Path, told: Told) -> None:
    """The same, watched from before the opening."""
    told.hold()
    core = WriterCore(database_of(folder))
    core.open()
    write(core, told)
    core.close()


def fed() -> Model:
    """Documents that are added, replaced and deleted; the same every time."""
    model = Model()
    for n in range(24):
        model.write(
            "set",
            f"doc_{n % 18}",
            project_ids=("p0",),
            languages=["en"] * 4,
            vectors=unit_vectors(4, n),
        )
    model.write("delete", "doc_3")
    return model


def attempt(told: Told, name: object, step: Callable[[], object]) -> None:
    """Tell that a step was done, or that the disk refused it."""
    try:
        step()
    except (OSError, StorageFailed) as error:
        told.tell(f"no {name} {type(error).__name__}")
    else:
        told.tell(f"ok {name}")


def shard(folder: Path, told: Told) -> None:
    """Snapshots of a tail, merges, a graph, and what comes after it. Told is the sequence of each snapshot that is left."""
    told.hold()
    model = fed()
    core = Shard(folder / "shard", SPEC, limits=LIMITS)
    core.open()

    def link() -> None:
        while core.link():
            pass

    for items, step in ((6, core.snapshot), (8, core.merge), (0, link), (6, core.merge), (len(model.items), core.snapshot)):
        if items:
            core.apply(model.feed(core.applied, items))
        attempt(told, core.applied, step)
    core.close()


def blob(number: int) -> bytes:
    return bytes((number * 31 + n * 7) % 251 for n in range(BLOB_BYTES))


def blobs(folder: Path, told: Told) -> None:
    """Files in pieces. Told is each one's number."""
    layout = Layout(folder / "blobs")
    files, uploads = BlobFiles(layout), Uploads(layout, names.BLOB_PIECE_BYTES)
    told.hold()
    try:
        files.open()
    except OSError:  # an actor that can't be made is made again
        files.open()

    def store(number: int) -> None:
        data, upload = blob(number), uploads.begin()
        for at in range(0, len(data), 5_000):
            uploads.append(upload, at, data[at : at + 5_000])
        uploads.commit(upload)

    for number in range(4):
        attempt(told, number, lambda number=number: store(number))


WORKLOADS: dict[str, Callable[[Path, Told], None]] = {
    "writer": writer,
    "writer_from_its_start": writer_from_its_start,
    "shard": shard,
    "blobs": blobs,
}
