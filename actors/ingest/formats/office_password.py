"""Office files under a password, by msoffcrypto-tool: opened into a file aside, which is then read like any other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.ingest.parsed import Refused
from actors.ingest.source import Source


def _decrypt(source: Source, into: Path) -> None:
    from msoffcrypto import OfficeFile
    from msoffcrypto.exceptions import DecryptionError, FileFormatError, ParseError

    with source.path.open("rb") as file, into.open("wb") as plain:
        try:
            office: Any = OfficeFile(file)
            office.load_key(password=source.password)
            office.decrypt(plain)
        except DecryptionError as error:
            raise Refused("password_wrong", "it needs a password, and the one that was given does not open it") from error
        except (FileFormatError, ParseError) as error:
            raise Refused("damaged", f"it is damaged: it can't be opened with its password ({error})") from error


def opened(source: Source, work: Path) -> Source:
    """The file without its password. Refused when none was given or it is another."""
    if not source.password:
        raise Refused("password_needed", "it needs a password: retry with the password")
    plain = work.with_suffix(".opened")
    _decrypt(source, plain)
    return replace(source, path=plain, media_type=None)
