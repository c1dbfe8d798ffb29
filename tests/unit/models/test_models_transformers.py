"""The engines over transformers where their packages are not: nothing asks for them before an engine does, and then in a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from actors.models.batching import batches
from actors.models.engines import files_for, make_embedder, make_language, make_reranker
from actors.models.residence import Residence
from actors.models.stops import Stops
from cluster.doctor import extras
from cluster.tree import build_tree
from perenne import names
from perenne.errors import ConfigurationError, EngineFailed
from perenne.settings import ModelSettings, Settings
from perenne.testing import eventually


def model(name: str, engine: str = "transformers") -> ModelSettings:
    return ModelSettings(engine=engine, model=name)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody has them: import says that there is no such module."""
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


def settings_with(tmp_path: Path, **more: object) -> Settings:
    return Settings(
        home=str(tmp_path),
        models_dir=str(tmp_path),
        language=model("/models/a.gguf", "llama_cpp"),
        embedding=ModelSettings(engine="onnx", model="use-multilingual-q8"),
        **more,
    )


def test_the_core_does_not_import_torch_nor_transformers() -> None:
    code = (
        "import sys, actors.models.app, actors.models.engines, actors.models.transformers_language, "
        "actors.models.transformers_embedder, actors.models.transformers_reranker, actors.runs.actor, serve.app; "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("not_installed")
@pytest.mark.parametrize("make", [make_language, make_embedder, make_reranker])
async def test_a_missing_extra_is_a_state_with_what_to_type(make, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="to have them: make transformers"):
        make(model(str(tmp_path)), (tmp_path,))
    residence = Residence("language", model(str(tmp_path)), tmp_path, make)
    try:
        await eventually(lambda: residence.phase == "failed")
        assert residence.state().detail.endswith(
            "torch and transformers are not installed here; to have them: make transformers"
        )
    finally:
        residence.close()


@pytest.mark.usefixtures("not_installed")
def test_the_doctor_says_what_to_type(tmp_path: Path) -> None:
    assert list(extras(settings_with(tmp_path), False)) == []
    (found,) = extras(settings_with(tmp_path, reranking=model("/models/cross")), False)
    assert "reranking" in found.sentence
    assert "make transformers" in found.remedy


def test_a_folder_a_hub_id_and_an_entry_of_the_catalogue_are_told_apart(tmp_path: Path) -> None:
    assert files_for(model("/models/x"), tmp_path) == (Path("/models/x"),)
    assert files_for(model("owner/name"), tmp_path) == files_for(model("owner/name@v1.0"), tmp_path) == ()
    assert {path.parent for path in files_for(model("all-minilm-l6-v2"), tmp_path)} == {tmp_path / "all-minilm-l6-v2"}
    for wrong in ("name", "../owner/name", "owner/name/more", "owner/", "owner/name@"):
        with pytest.raises(ConfigurationError, match=r"expected an absolute path, a hub id such as owner/name or one of"):
            files_for(model(wrong), tmp_path)
    with pytest.raises(ConfigurationError, match="runs on the engine 'onnx'"):
        files_for(model("use-multilingual-q8"), tmp_path)
    with pytest.raises(ConfigurationError, match="expected an absolute path or one of"):
        files_for(model("owner/name", "llama_cpp"), tmp_path)


def test_a_space_is_named_so_that_it_can_be_a_folder() -> None:
    """The shards of a model with a path for its name lay at that path, outside the home."""
    assert model("use-multilingual-q8", "onnx").space == "use-multilingual-q8"
    spaces = [
        model(name).space for name in ("/models/mini lm/", "/other/mini lm", "BAAI/bge-small", "baai/bge-small", "/..", "a/..")
    ]
    assert len(set(spaces)) == len(spaces)
    for space in spaces:
        assert "/" not in space
        assert not space.startswith(".")
    assert spaces[2].startswith("bge-small-")


def test_a_reranker_is_a_child_of_the_tree_only_where_it_is_configured_and_never_a_needed_one(tmp_path: Path) -> None:
    assert names.RERANKING not in {child.name for child in build_tree(settings_with(tmp_path))}
    found = build_tree(settings_with(tmp_path, reranking=model("/models/cross")))
    (child,) = (child for child in found if child.name == names.RERANKING)
    assert not child.needed
    with pytest.raises(ConfigurationError, match="expected transformers, got 'onnx'"):
        make_reranker(model("/models/cross", "onnx"), ())


def test_batches_hold_like_lengths_and_no_more_than_their_bounds() -> None:
    lengths = [5, 300, 7, 1, 290, 6, 9_000, 2]
    found = batches(lengths, texts_max=3, chars_max=600)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    assert found[0] == (3, 7, 0)
    assert (6,) in found  # what is too long goes alone
    for batch in found:
        assert len(batch) <= 3
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= 600


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_stop_string_is_found_however_the_text_is_cut(size: int) -> None:
    text = "one tw-two ##end# then ##end## and more"
    stops = Stops(("##end##", "never", ""))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    told = [stops.take(piece) for piece in pieces]
    assert "".join(told) + stops.rest() == "one tw-two ##end# then "
    assert stops.found


def test_what_only_looked_like_a_stop_string_is_told_in_the_end() -> None:
    stops = Stops(("abcd", "bcx"))
    assert stops.take("xabc") == "x"
    assert stops.take("a") == "abc"
    assert stops.rest() == "a"
    assert not stops.found
    assert Stops(()).take("told at once") == "told at once"
