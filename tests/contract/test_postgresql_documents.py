"""The tests of the store's documents, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_documents import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
