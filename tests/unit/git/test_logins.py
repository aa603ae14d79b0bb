"""What is written down for a command that logs in."""

import asyncio
from pathlib import Path

from pymigrate.engine.adapters.git.logins import CERTIFICATES_PREFIX, Logins
from pymigrate.engine.ports.repository import HttpsLogin, Remote
from tests.git_hosting import make_authority

SOURCES = 6  # that reach a host for the first time at once
ROUNDS = 20


async def test_sources_that_trust_the_same_certificates_may_begin_at_once(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority").pem
    remote = Remote("https://127.0.0.1/defs.git", HttpsLogin(ca_certificates=authority))

    async def trusted(logins: Logins) -> str:
        async with logins.access(remote) as access:
            return access.settings[0]

    for number in range(ROUNDS):
        folder = tmp_path / f"round-{number}"
        folder.mkdir()
        logins = Logins(folder)
        said = await asyncio.gather(*(trusted(logins) for _ in range(SOURCES)))
        (kept,) = folder.iterdir()
        assert kept.name.startswith(CERTIFICATES_PREFIX)
        assert set(said) == {f"http.sslCAInfo={kept}"}
        assert authority in kept.read_text()
