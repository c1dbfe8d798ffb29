"""What a look at this machine finds."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`stops`: `perenne up` refuses; `warns`: it starts, but; `fine`: looked at and in order."""

    about: str
    level: Literal["fine", "warns", "stops"]
    sentence: str
    remedy: str = ""


def fine(about: str, sentence: str) -> Finding:
    return Finding(about=about, level="fine", sentence=sentence)


def program() -> str:
    """The command as it was typed: after `make run` it is not on the PATH."""
    return sys.argv[0] if Path(sys.argv[0]).name == "perenne" else "perenne"
