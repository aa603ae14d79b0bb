"""Looking for pandas ends at once in a process of tests, and looking for anything else goes on."""

import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from tests.absent_pandas import AbsentPandas


@pytest.fixture
def asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [AbsentPandas(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "pandas", raising=False)


@pytest.mark.usefixtures("asked_first")
def test_pandas_is_missing_as_any_module_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'pandas'") as caught:
        import_module("pandas")
    assert caught.value.name == "pandas"


@pytest.mark.usefixtures("asked_first")
def test_other_modules_are_found() -> None:
    assert find_spec("wave") is not None
    assert find_spec("pandas_of_another_name") is None
