"""A real model in a process that is not given the memory for it; then it is: run by test_out_of_memory.

`python -m tests.chaos.short_of_memory ROLE MB`: that much more than the process has. One line of JSON says how it stood, what asking for
it was answered, and what it did with memory again; none when a library ended the process, as llama.cpp does without room for a thread."""

import asyncio
import itertools
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from actors.models.engines import make_embedder, make_language
from actors.models.residence import Residence
from perenne.errors import ModelNotReady
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateRequest
from perenne.settings import load_settings

PATIENCE_S = 60.0


def held_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def until(residence: "Residence[Any]", *phases: str) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while residence.phase not in phases:
        assert time.monotonic() < deadline, f"it is still {residence.state()}"
        time.sleep(0.01)
    return residence.phase


async def used(role: str, engine: Any) -> int:
    """How much it answers: numbers of a vector, or characters."""
    if role == "embedding":
        return len((await engine.embed(EmbedRequest(texts=("lighthouse",), kind="query"))).data)
    asked = GenerateRequest(request_id="r", messages=(ChatMessage(role="user", content="Say yes."),), max_tokens=4)
    return len("".join([chunk.text async for chunk in engine.stream(asked)]))


def main(role: str, more_mb: int) -> dict[str, Any]:
    settings = load_settings()
    make: Any = make_embedder if role == "embedding" else make_language
    __import__("onnxruntime" if role == "embedding" else "xllamacpp")  # what takes memory from here on are the weights
    most = resource.getrlimit(resource.RLIMIT_AS)

    tries = itertools.count()

    def first_without(*given: Any) -> Any:
        if next(tries) == 0:
            resource.setrlimit(resource.RLIMIT_AS, (held_bytes() + (more_mb << 20), most[1]))
        return make(*given)

    residence: Residence[Any] = Residence(role, getattr(settings, role), Path(settings.models_dir), first_without)
    said: dict[str, Any] = {"phase": until(residence, "failed", "ready"), "detail": residence.state().detail}
    try:
        residence.ready_engine()
    except ModelNotReady as error:
        said["asked"] = str(error)
    resource.setrlimit(resource.RLIMIT_AS, most)
    begun = time.monotonic()
    residence.want()
    said["then"] = until(residence, "ready")
    said["recovery_s"] = time.monotonic() - begun
    said["answer"] = asyncio.run(used(role, residence.engine))
    residence.close()
    return said


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))), flush=True)
