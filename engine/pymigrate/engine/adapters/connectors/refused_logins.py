"""A system that does not let its user in, told apart from one that is away: the secret may be in rotation, and is read anew."""

import re

from pymigrate.engine.domain.errors import CredentialsRefused
from pymigrate.engine.ports.connector import SystemSpec

HIDDEN = "***"
# What a PostgreSQL or libpq says of a login in English; no driver hands the SQLSTATE over.
POSTGRES_REFUSES = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r'|role "[^\n]*" (does not exist|is not permitted to log in)'
)


def refused_login(system: SystemSpec, where: str, said: str) -> CredentialsRefused:
    """Which connection, which user, and what the system said, without any of the secrets that it was given."""
    user = system.options.get("user", "")
    who = f"user `{user}`" if user else "whoever asks"
    told = without_secrets(system, said)
    return CredentialsRefused(
        f"connection `{system.name}`: {where} does not let {who} in: {told}; check the connection's user and secret"
    )


def without_secrets(system: SystemSpec, said: str) -> str:
    """What a driver said, with no value of the system's secrets in it."""
    for secret in filter(None, (system.password, *system.secrets.values())):
        if value := secret.reveal():
            said = said.replace(value, HIDDEN)
    return " ".join(said.split())
