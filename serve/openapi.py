"""`python -m serve.openapi [--check FILE]`: the OpenAPI document on standard output, or whether FILE is it."""

import json
import sys
from pathlib import Path

from perenne.settings import ModelSettings, Settings
from perenne.testing import FakeDirectory
from serve.http import build_app


def document() -> str:
    """The document as text; the same for every configuration."""
    language = ModelSettings(engine="llama_cpp", model="language")
    embedding = ModelSettings(engine="onnx", model="embedding")
    settings = Settings(home=".", models_dir=".", language=language, embedding=embedding)
    return json.dumps(build_app(settings, FakeDirectory()).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--check"] and len(arguments) == 2:
        if Path(arguments[1]).read_text(encoding="utf-8") == document():
            return 0
        print(f"{arguments[1]} is out of date: python -m serve.openapi > {arguments[1]}", file=sys.stderr)
        return 1
    if arguments:
        print("usage: python -m serve.openapi [--check FILE]", file=sys.stderr)
        return 2
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
