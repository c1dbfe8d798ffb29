import inspect
import pickle

import pytest

from perenne import errors, http_errors

SAMPLES = [
    errors.NotFound("project", "prj_1"),
    errors.InvalidRequest("k: expected 1 to 200, got 0", "k"),
    errors.Conflict("a project named 'a' exists"),
    errors.CommandReused("cmd_1"),
    errors.LeaseLost("job_1"),
    errors.Unauthorized(),
    errors.Forbidden("write"),
    errors.TooLarge("the file", 3, 2),
    errors.QuotaExceeded("unfinished uploads", 17, 16),
    errors.ChecksumMismatch("the piece has another SHA-1"),
    errors.Busy("the writer's queue", 0.5),
    errors.RateLimited("key_1", 2.0),
    errors.Unavailable("RunHost", 1.0, "restarting"),
    errors.ModelNotReady("language", "downloading", 0.34),
    errors.WeightsUnavailable("smollm2", "no source gave model.gguf"),
    errors.DeadlineExceeded("RunHost", 3.0),
    errors.StorageFailed("the disk is full"),
    errors.BackupDamaged("pieces/ab/cd", "its checksum is wrong"),
    errors.WrongPassphrase("the passphrase is not that of /backups"),
    errors.EngineFailed("llama_cpp", "no context left"),
    errors.ConfigurationError("port: expected a number, got 'x'"),
    http_errors.ServerError(500, "broken"),
    http_errors.NotPerenne("http://127.0.0.1:8000", "an answer 200 of type text/html"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_survives_a_pickle_with_its_words_and_fields(error: errors.PerenneError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {k: v for k, v in vars(again).items()} == vars(error)


def test_every_error_of_the_tree_has_a_sample_above() -> None:
    tree = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.PerenneError)}
    assert tree - {errors.PerenneError} == {type(error) for error in SAMPLES} - {
        http_errors.ServerError,
        http_errors.NotPerenne,
    }


def test_codes_are_stable_and_distinct() -> None:
    codes = [type(error).code for error in SAMPLES]
    assert len(set(codes)) == len(codes)


def test_a_model_on_its_way_says_how_far() -> None:
    assert "34%" in str(errors.ModelNotReady("language", "downloading", 0.34))
