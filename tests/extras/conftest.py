"""The engines over transformers: `make test` runs these in build/transformers, where torch is. Elsewhere there is nothing to run."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if importlib.util.find_spec("torch") is None:
    assert not os.environ.get("CI"), "torch is missing: make extras, then build/transformers/bin/python -m pytest tests/extras"
    collect_ignore_glob = ["test_*.py"]
else:
    import small_models

    from actors.models.catalogue import entry_of
    from actors.models.weights import Weights
    from perenne.settings import ModelSettings

    @pytest.fixture(scope="session")
    def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A language model of a few thousand weights that learnt one answer by heart."""
        return small_models.speaker(tmp_path_factory.mktemp("speaker"))

    @pytest.fixture(scope="session")
    def slow_speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A language model of 170 MB of random weights, which takes seconds over a long prompt."""
        return small_models.slow_speaker(tmp_path_factory.mktemp("slow"))

    @pytest.fixture(scope="session")
    def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A BERT of random weights."""
        return small_models.encoder(tmp_path_factory.mktemp("encoder"))

    @pytest.fixture(scope="session")
    def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A BERT of random weights with one label."""
        return small_models.encoder(tmp_path_factory.mktemp("cross"), labels=1)

    @pytest.fixture(scope="session")
    def minilm() -> Path:
        """The folder of the real all-MiniLM-L6-v2."""
        folder = os.environ.get("PERENNE_MODELS", "")
        weights = Weights(entry_of("all-minilm-l6-v2"), Path(folder))
        if not folder or not weights.is_installed:
            words = f"no weights of all-minilm-l6-v2 in PERENNE_MODELS={folder!r}: make extras"
            pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
        return weights.folder

    @pytest.fixture
    def made() -> Iterator[Callable[..., Any]]:
        """Makes an engine of a class over a folder, and closes it in the end."""
        engines: list[Any] = []

        def make(kind: type[Any], folder: Path, **more: Any) -> Any:
            engines.append(kind(ModelSettings(engine="transformers", model=str(folder), **more), (folder,)))
            return engines[-1]

        yield make
        for engine in engines:
            engine.close()
