"""Workspaces of the real terraform with a small provider on the sdk, and the same on stock `tf`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.provider_sdk.workspace import STOCK_SHELF, Workspace, attached


@pytest.fixture
def workspace(require_terraform: str, tmp_path: Path) -> Workspace:
    """A workspace whose terraform starts the provider itself."""
    return Workspace(require_terraform, tmp_path / "mended")


@pytest.fixture
def stock_workspace(require_terraform: str, tmp_path: Path) -> Workspace:
    """The same with the provider on stock `tf`."""
    return Workspace(require_terraform, tmp_path / "stock", STOCK_SHELF)


@pytest.fixture
def shelf(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace whose provider is held and reattached: each command is quick and none needs an `init`."""
    with attached(workspace):
        yield workspace
