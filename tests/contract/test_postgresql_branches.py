"""The tests of the store's branches, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_branches import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
