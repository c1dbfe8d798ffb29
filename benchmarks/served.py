"""What a benchmark sets beside us, in a process of its own."""

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.running import free_port


@contextmanager
def served(serve: Callable[..., None], *arguments: Any) -> Iterator[str]:
    """The address of what `serve(*arguments, port)` serves in a process of its own."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(*arguments, port), daemon=True)
    process.start()
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or not process.is_alive():
                    raise
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join(10)
