"""What can be set for callers that an OIDC issuer vouches for, read from the environment once, at the root. No secret is in it."""

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pymigrate.engine.domain.addresses import address_problem

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class OidcSettings(BaseSettings):
    """The settings, each as `PYMIGRATE_OIDC_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="PYMIGRATE_OIDC_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    issuer: str = ""
    """Issuer of the tokens, exactly as their `iss` says it, such as `https://login.example.com/realms/data`. Default empty: no JWT lets
    anybody in."""

    audience: str = Field(default="", max_length=200)
    """What the tokens' `aud` must hold, such as `pymigrate`. Needed with an issuer, which signs tokens for others too."""

    algorithms: str = "RS256,ES256"
    """Algorithms that tokens may be signed with, separated by commas. Default RS256 and ES256: what issuers use. Never `none`, and none
    that is symmetric."""

    principal_claim: str = Field(default="sub", min_length=1, max_length=200)
    """Claim that names the principal, which is `oidc/<claim>` then. Default `sub`: issuers never give one to somebody else."""

    groups_claim: str = Field(default="groups", min_length=1, max_length=200)
    """Claim that lists the principal's groups. Default `groups`."""

    jwks_url: str = ""
    """Address of the issuer's keys. Default empty: where its `/.well-known/openid-configuration` says."""

    clock_skew_seconds: float = Field(default=30.0, ge=0.0, le=300.0)
    """How far the issuer's clock may be off. Default 30."""

    @field_validator("algorithms")
    @classmethod
    def _are_algorithms(cls, value: str) -> str:
        parts = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        for part in parts:
            if part not in ALGORITHMS:
                raise ValueError(
                    f"{part!r} is no algorithm that tokens may be signed with: use {', '.join(ALGORITHMS)}"
                )
        if not parts:
            raise ValueError("names none: leave it out for RS256 and ES256")
        return ",".join(parts)

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_guarded(cls, value: str) -> str:
        if value and (problem := address_problem(value, "https://login.example.com/realms/data")):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.issuer and not self.audience:
            raise ValueError(
                "an issuer signs tokens for others too: set PYMIGRATE_OIDC_AUDIENCE to what this engine's are for"
            )
        if not self.issuer and (self.audience or self.jwks_url):
            raise ValueError("nobody's tokens are named: set PYMIGRATE_OIDC_ISSUER too")
        return self

    @property
    def algorithm_names(self) -> tuple[str, ...]:
        """The algorithms one by one."""
        return tuple(self.algorithms.split(","))
