"""The target suite's modules assert too: let pytest rewrite them."""

import pytest

pytest.register_assert_rewrite(
    "tests.integration.connectors.target_contract",
    "tests.integration.connectors.target_publication_contract",
    "tests.integration.connectors.target_types_contract",
    "tests.integration.connectors.target_crashes",
)
