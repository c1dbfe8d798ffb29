"""libgomp for llama.cpp. Its package links the machine's, which a fresh Debian or Ubuntu without a compiler does not have."""

import ctypes
import os
from importlib import metadata

from perenne.errors import EngineFailed

WANTED = b"libgomp.so.1"


def provide_openmp(engine: str) -> None:
    """Have a libgomp.so.1 loaded, the machine's or else the one that faiss-cpu brings. EngineFailed when there is neither."""
    try:
        ctypes.CDLL(WANTED.decode())
    except OSError:
        load_packaged(engine)


def load_packaged(engine: str) -> None:
    """Load faiss-cpu's libgomp as `libgomp.so.1`. auditwheel gave it a name of its own, and the loader takes a library that is
    there already only for the name it says it has (DT_SONAME): so a copy in memory says the usual one."""
    held = [file for file in metadata.files("faiss-cpu") or () if file.name.startswith("libgomp-")]
    if not held:
        raise EngineFailed(engine, "libgomp.so.1 is missing: sudo apt install libgomp1")
    name = held[0].name.encode() + b"\0"
    body = held[0].read_binary().replace(b"\0" + name, b"\0" + WANTED.ljust(len(name), b"\0"))
    copy = os.memfd_create(WANTED.decode())
    with open(copy, "wb", closefd=False) as file:
        file.write(body)
    ctypes.CDLL(f"/proc/self/fd/{copy}")
