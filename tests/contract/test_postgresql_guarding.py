"""Backups before migrations, on PostgreSQL: with `pg_dump`, or its dump in the home where the target is away."""

import pytest

from tests.unit.store.test_store_guarding import (
    house,
    settings,
    test_going_back_makes_one_too,
    test_it_is_made_by_a_process_of_its_own_and_whoever_waits_is_told,
    test_where_the_target_is_away_a_copy_takes_its_place_and_the_owner_is_told,
)

__all__ = [
    "house",
    "settings",
    "test_going_back_makes_one_too",
    "test_it_is_made_by_a_process_of_its_own_and_whoever_waits_is_told",
    "test_where_the_target_is_away_a_copy_takes_its_place_and_the_owner_is_told",
]

pytestmark = pytest.mark.usefixtures("on_postgresql")
