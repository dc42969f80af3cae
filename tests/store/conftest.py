import pytest

from fastweights.store.root import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")
