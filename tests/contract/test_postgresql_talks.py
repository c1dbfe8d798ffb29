"""The tests of the store's talks, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_talks import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
