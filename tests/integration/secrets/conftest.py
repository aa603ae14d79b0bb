"""A Vault for each test: what any Vault does is asked of a real one where VAULT_ADDR and VAULT_TOKEN name it."""

from collections.abc import Iterator

import pytest

from tests.vaults.scene import VaultScene, stand_in_scene, vault_scene


@pytest.fixture
def vault() -> Iterator[VaultScene]:
    with vault_scene() as scene:
        yield scene


@pytest.fixture
def stand_in() -> Iterator[VaultScene]:
    with stand_in_scene() as scene:
        yield scene
