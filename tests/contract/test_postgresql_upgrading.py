"""One version back, on PostgreSQL."""

import pytest

from tests.unit.cluster.test_upgrading import (
    house,
    settings,
    test_one_version_back_keeps_what_was_written_since,
    test_postgresql_is_restored_over_only_with_a_backup_of_what_goes,
    test_the_backup_from_before_comes_back_as_it_was,
)

__all__ = [
    "house",
    "settings",
    "test_one_version_back_keeps_what_was_written_since",
    "test_postgresql_is_restored_over_only_with_a_backup_of_what_goes",
    "test_the_backup_from_before_comes_back_as_it_was",
]

pytestmark = pytest.mark.usefixtures("on_postgresql")
