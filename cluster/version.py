"""Which Perenne this is."""

from importlib import metadata


def version() -> str:
    try:
        return metadata.version("perenne")
    except metadata.PackageNotFoundError:
        return "unknown"
