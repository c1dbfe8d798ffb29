"""The cores of one instance in this process, without a cluster: store, index, runs and the real models, for measuring."""

import asyncio
import gzip
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.index.actor import IndexShard
from actors.ingest.language import of_document
from actors.ingest.splitter import split_short
from actors.runs.actor import RunHost
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.errors import NotFound
from perenne.ids import new_id
from perenne.messages.commands import (
    AddJsonLines,
    CreateProject,
    CreateUser,
    FinishJob,
    IndexedDocument,
    LeaseJobs,
    NewChunk,
    StoreDocuments,
)
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory

USER = "owner"
DOCUMENTS_PER_COMMAND = 32


@dataclass(frozen=True, slots=True)
class Text:
    """One document of a corpus."""

    id: str
    title: str
    text: str


def samples_of(argument: str | None) -> Path:
    """Where the samples are: the argument, else PERENNE_SAMPLES. Says what is missing otherwise."""
    given = argument or os.environ.get("PERENNE_SAMPLES")
    if not given or not Path(given, "retrieval").is_dir():
        raise SystemExit("say where the samples are: --samples DIR or PERENNE_SAMPLES (a folder with retrieval/ in it)")
    return Path(given)


def corpus(samples: Path, name: str) -> list[Text]:
    """The passages of one collection."""
    with gzip.open(samples / "retrieval" / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Text(row["_id"], " ".join(row["title"].split()), row["text"]) for row in rows]


def rows(samples: Path, name: str, file: str) -> list[dict[str, Any]]:
    """The lines of one of a collection's files."""
    with (samples / "retrieval" / name / file).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class OnnxSentences:
    """The default embedder's weights in this process, on one thread unless more are asked for."""

    def __init__(self, folder: Path, space: str, threads: int = 1) -> None:
        import onnxruntime
        import onnxruntime_extensions

        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
        options.intra_op_num_threads = threads
        (path,) = folder.glob("*.onnx")
        self._session = onnxruntime.InferenceSession(str(path), options)
        self._space = space
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit-length rows."""
        with self._lock:
            found = [
                np.asarray(self._session.run(None, {"inputs": np.array(texts[at : at + 16], dtype=object)})[0])
                for at in range(0, len(texts), 16)
            ]
        raw = np.concatenate(found).astype(np.float32)
        return raw / np.maximum(1e-9, np.linalg.norm(raw, axis=1, keepdims=True))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """As a replica of "embedding" answers."""
        data = await asyncio.to_thread(self.vectors, request.texts)
        return Embeddings(space=self._space, dimension=data.shape[1], count=len(data), data=data.astype("<f4").tobytes())


class House:
    """One instance in a folder. `directory` reaches its parts; `store` writes and reads; `database`: the URL of PostgreSQL, None
    for SQLite in the folder; `answers`: with a run host, which lives as long as this process."""

    def __init__(
        self,
        home: Path,
        models: Path,
        language: Any = None,
        embedder: Any = None,
        database: str | None = None,
        answers: bool = True,
    ) -> None:
        env = {"PERENNE_HOME": str(home), "PERENNE_MODELS": str(models)}
        if database is not None:
            env["PERENNE_DATABASE_URL"] = database
        self.settings: Settings = load_settings(env)
        home.mkdir(parents=True, exist_ok=True)
        self.directory = FakeDirectory()
        self.store = Store(self.directory)
        self.space = self.settings.embedding.model
        self.embedder = embedder or OnnxSentences(models / self.space, self.space)
        self.directory.put(names.EMBEDDING, self.embedder)
        if language is not None:
            self.directory.put(names.LANGUAGE, language)
        parts: dict[str, Any] = {
            names.STORE_WRITER: StoreWriter,
            names.store_reader(0): StoreReader,
            names.index_shard(self.space, 0): IndexShard,
        }
        if answers:
            parts[names.RUN_HOST] = RunHost
        for name, kind in parts.items():
            self.directory.put(name, kind(name, self.settings, self.directory))

    async def begin(self) -> None:
        """Wait for the store and make its user."""
        await self.store.write(CreateUser(command_id="bench:user", user_id="system", new_user_id=USER, name="owner"), 60.0)

    async def close(self) -> None:
        """End what holds threads and files."""
        for name in (names.index_shard(self.space, 0), names.store_reader(0), names.STORE_WRITER):
            await self.directory.call(name, "close", timeout_s=60.0)

    async def project(self, name: str, texts: Sequence[Text]) -> str:
        """A project that holds these texts, cut and embedded as ingest would."""
        made = await self.store.write(
            CreateProject(command_id=new_id("cmd"), user_id=USER, project_id=new_id("prj"), name=name)
        )
        job_id = new_id("job")
        await self.store.write(
            AddJsonLines(
                command_id=new_id("cmd"), user_id=USER, job_id=job_id, project_id=made.id, blob_hash="0" * 64, size_bytes=1
            )
        )
        (job,) = await self.store.write(
            LeaseJobs(command_id=new_id("cmd"), user_id="system", worker="bench", limit=1, lease_s=3600.0)
        )
        for part in _parts(texts, DOCUMENTS_PER_COMMAND):
            documents = await asyncio.to_thread(self.indexed, part)
            await self.store.write(
                StoreDocuments(
                    command_id=new_id("cmd"),
                    user_id="system",
                    job_id=job_id,
                    lease_token=job.lease_token,
                    lease_s=3600.0,
                    project_id=made.id,
                    space=self.space,
                    documents=documents,
                ),
                60.0,
            )
        await self.store.write(
            FinishJob(command_id=new_id("cmd"), user_id="system", job_id=job_id, lease_token=job.lease_token, state="done")
        )
        return made.id

    async def mixed(self, samples: Path, leave_out: frozenset[str] = frozenset()) -> str:
        """One project with both collections, made once in this home."""
        name = "mixed"
        try:
            return (await self.store.read("project", user_id=USER, project=name)).id
        except NotFound:
            texts = [one for part in ("squad-es", "pubmedqa") for one in corpus(samples, part) if one.id not in leave_out]
            made = await self.project(name, texts)
            await self.caught_up()
            return made

    def indexed(self, texts: Sequence[Text]) -> tuple[IndexedDocument, ...]:
        documents: list[IndexedDocument] = []
        for one in texts:
            language = of_document(one.text)
            spans = split_short(one.text, self.settings.ingest.chunk_chars)
            chunks = tuple(
                NewChunk(ordinal=n, text=one.text[s.start : s.end], start=s.start, end=s.end, language=language)
                for n, s in enumerate(spans)
            )
            vectors = self.embedder.vectors([chunk.text for chunk in chunks])
            documents.append(
                IndexedDocument(
                    document_id=new_id("doc"),
                    title=one.title,
                    text=one.text,
                    chunks=chunks,
                    vectors=vectors.astype("<f4").tobytes(),
                    external_id=one.id,
                    language=language,
                )
            )
        return tuple(documents)

    async def caught_up(self) -> None:
        """Wait until the shard has seen everything."""
        head = await self.directory.call(names.STORE_WRITER, "head", timeout_s=10.0)
        until = time.monotonic() + 300.0
        shard = names.index_shard(self.space, 0)
        while await self.directory.call(shard, "applied", timeout_s=10.0) < head:
            if time.monotonic() > until:
                raise TimeoutError("the shard did not catch up")
            await asyncio.sleep(0.1)


def _parts(texts: Sequence[Text], size: int) -> Iterator[Sequence[Text]]:
    for at in range(0, len(texts), size):
        yield texts[at : at + size]


def ndcg(ranked: Iterable[str], relevant: dict[str, int], k: int = 10) -> float:
    """Of documents, each counted at its best passage: gain over the logarithm of its place, beside the best order."""
    seen = list(dict.fromkeys(ranked))[:k]
    got = sum(relevant.get(one, 0) / np.log2(place + 2) for place, one in enumerate(seen))
    best = sum(gain / np.log2(place + 2) for place, gain in enumerate(sorted(relevant.values(), reverse=True)[:k]))
    return float(got / best) if best else 0.0


def report(name: str, figures: list[dict[str, Any]]) -> None:
    """Write build/bench/NAME.json."""
    target = Path("build", "bench", f"{name}.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
