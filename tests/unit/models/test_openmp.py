"""On a fresh Debian without a compiler the language model failed: "libgomp.so.1: cannot open shared object file". llama.cpp's
package links the machine's, and no test saw it, since every developer's machine has one."""

import subprocess
import sys

import pytest

from actors.models import openmp
from perenne.errors import EngineFailed

LLAMA_CPP_ON_THE_PACKAGED_ONE = """
from actors.models.openmp import load_packaged
load_packaged("llama_cpp")
import xllamacpp
print(sorted({line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "libgomp.so.1" in line}))
"""


def test_llama_cpp_loads_on_the_libgomp_of_a_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP_ON_THE_PACKAGED_ONE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "['/memfd:libgomp.so.1 (deleted)']", done.stderr


def test_a_machine_without_any_libgomp_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp.metadata, "files", lambda name: [])
    with pytest.raises(EngineFailed, match="sudo apt install libgomp1"):
        openmp.load_packaged("llama_cpp")
