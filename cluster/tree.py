"""The whole runtime as data: what runs, what each waits for at its first start, and how often it may start again."""

import hashlib
import importlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cluster.environment import CHECKOUT
from cluster.restarts import Intensity, Patience
from perenne import names
from perenne.settings import Settings

DATABASE = "database"  # the group of the owners of the database and of what is made from it
_USUAL_INTENSITY, _USUAL_PATIENCE = Intensity(), Patience()
# An ingest job or an answer may take its time between two signs of progress.
_SLOW_WORK = Patience(progress_s=600.0)
_MODEL = Patience(silent=5, progress_s=120.0)  # a long prompt may take a minute between two words on a small PC
_SERVED_SLOWER = 10  # Serve takes seconds for a replica, and for one that fails ever longer: in a minute it could not start ten


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """`code` is `module:Class` of an actor or `module:builder` of a Serve application. `after`: at its first start it waits until
    these have been ready once; later it recovers alone. A search or an answer is impossible without the `needed` ones. One that
    can't stay up takes its `group` along (`cluster/groups.py`); without one it is alone in its group."""

    name: str
    code: str
    kind: Literal["actor", "application"] = "actor"
    after: tuple[str, ...] = ()
    needed: bool = True
    intensity: Intensity = _USUAL_INTENSITY
    patience: Patience = _USUAL_PATIENCE
    route: str | None = None
    group: str = ""

    @property
    def in_group(self) -> str:
        return self.group or self.name


def build_tree(settings: Settings) -> tuple[Child, ...]:
    """The children of the Supervisor, in start order; they are ended in the opposite one."""
    readers = [names.store_reader(n) for n in range(settings.store.readers)]
    shards = [names.index_shard(settings.embedding.space, n) for n in range(settings.shards)]
    reranking = (
        (Child(name=names.RERANKING, kind="application", code="actors.models.app:reranking", needed=False),)
        if settings.reranking is not None
        else ()
    )
    writer, blobs = names.STORE_WRITER, names.blob_store(settings.pc)
    tree = (
        Child(name=writer, code="actors.store.actor:StoreWriter", group=DATABASE),
        Child(name=blobs, code="actors.blobs.actor:BlobStore"),
        *(Child(name=name, code="actors.store.actor:StoreReader", after=(writer,), group=DATABASE) for name in readers),
        *(Child(name=name, code="actors.index.actor:IndexShard", after=(readers[0],), group=DATABASE) for name in shards),
        Child(
            name=names.BACKUP_KEEPER,
            code="actors.backups.actor:BackupKeeper",
            after=(readers[0], blobs),
            needed=False,
            patience=_SLOW_WORK,
        ),
        Child(name=names.RUN_HOST, code="actors.runs.actor:RunHost", after=(readers[0],), patience=_SLOW_WORK),
        Child(name=names.INGEST_HOST, code="actors.ingest.actor:IngestHost", after=(readers[0], blobs), patience=_SLOW_WORK),
        Child(name=names.NOTIFIER, code="actors.alerts.notifier_actor:Notifier", after=(readers[0],), needed=False),
        Child(name=names.ALERT_CENTER, code="actors.alerts.actor:AlertCenter", after=(readers[0],), needed=False),
        Child(name=names.EDGE, kind="application", code="serve.app:edge", route="/"),
        Child(name=names.LANGUAGE, kind="application", code="actors.models.app:language", patience=_MODEL),
        Child(name=names.EMBEDDING, kind="application", code="actors.models.app:embedding", patience=_MODEL),
        *reranking,
    )
    limits = settings.supervision
    usual = Intensity(window_s=limits.window_s, held_after=limits.starts_max)
    served = replace(usual, window_s=limits.window_s * _SERVED_SLOWER)
    return tuple(replace(child, intensity=usual if child.kind == "actor" else served) for child in tree)


def load(code: str) -> Any:
    """The class or builder that `module:name` names."""
    module, _, name = code.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def _code_hash(package: str) -> str:
    digest = hashlib.sha256()
    for folder in (Path(CHECKOUT, *package.split(".")), CHECKOUT / "perenne"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def spec_hash(child: Child, settings: Settings) -> str:
    """Changes when the child's code (its package and the contract) or the configuration does."""
    module = child.code.partition(":")[0]
    parts = (child.code, child.route or "", _code_hash(module.rpartition(".")[0] or module), settings.model_dump_json())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
