"""The tests of what one command adds, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_additions import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
