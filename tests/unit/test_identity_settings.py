"""Settings of the ways in: what goes together, and what never lets anybody in."""

import pytest
from pydantic import ValidationError

from pymigrate.engine.adapters.identity.key_sets import ALGORITHMS as KNOWN
from pymigrate.engine.main.identity_settings import ALGORITHMS, OidcSettings

ISSUER = "https://login.example.com/realms/data"


def refusal(**given: object) -> str:
    """What is said of settings that are none."""
    with pytest.raises(ValidationError) as error:
        OidcSettings(**given)  # type: ignore[arg-type]  # pydantic checks them
    return str(error.value)


def test_without_an_issuer_nobody_is_vouched_for() -> None:
    assert OidcSettings().issuer == ""


def test_an_issuer_goes_with_an_audience() -> None:
    assert OidcSettings(issuer=ISSUER, audience="pymigrate").algorithm_names == ("RS256", "ES256")
    assert "PYMIGRATE_OIDC_AUDIENCE" in refusal(issuer=ISSUER)
    assert "PYMIGRATE_OIDC_ISSUER" in refusal(audience="pymigrate")
    assert "PYMIGRATE_OIDC_ISSUER" in refusal(jwks_url="https://login.example.com/keys")


@pytest.mark.parametrize("algorithms", ["none", "HS256", "RS256,HS512", "RS256 none", "rs256", ","])
def test_algorithms_that_anybody_could_sign_with_are_refused(algorithms: str) -> None:
    assert "algorithm" in refusal(issuer=ISSUER, audience="pymigrate", algorithms=algorithms)


def test_the_algorithms_that_can_be_set_are_those_that_are_known() -> None:
    assert set(ALGORITHMS) == KNOWN.keys()
    assert not any(name.startswith(("HS", "none")) for name in KNOWN)


@pytest.mark.parametrize(
    "issuer", ["http://login.example.com", "login.example.com", "https://u:p@example.com", "ftp://x"]
)
def test_an_issuer_is_reached_over_tls_or_on_this_machine(issuer: str) -> None:
    refusal(issuer=issuer, audience="pymigrate")
    assert OidcSettings(issuer="http://127.0.0.1:8080", audience="pymigrate").issuer
