"""Secrets out of backends: 1,000 references with a cold memory, and what a backend that is away does to those who don't need it.

Reference: hvac alone, as in its guide, one secret after another, against the same stand-in of a Vault.
"""

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hvac
from _figures import Report, arguments, interleaved

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pymigrate.engine.adapters.clock import ThreadClock
from pymigrate.engine.adapters.secrets.opening import BackendKinds, open_backend
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import SecretsUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import SecretDocument
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.secret_backends import MemoryBackend
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import secret_backend_pb2
from tests.vaults.program import vault_process

LANES = 50  # who read at once
COLD_SECONDS_MAX = 2.0
AWAY_SECONDS = 60.0
MILLISECONDS = 1e3


class AwayBackend(MemoryBackend):
    """Does not answer until it is `back`, and lets its caller wait for a while each time, as a network does."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__()
        self._wait_seconds = wait_seconds
        self.back = threading.Event()

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """What was put there, once it is back."""
        if not self.back.wait(self._wait_seconds):
            raise SecretsUnavailable(f"{ref}: away", retry_after_seconds=0.1)
        return super().read(ref, version)


def reading(address: str, token: str) -> BackendSecrets:
    """A reader that has read nothing yet."""
    vault = secret_backend_pb2.VaultBackend(address=address, token="env://TOKEN", kv_versions={"kv": 2})
    declared, logins = secret_backend_pb2.SecretBackend(vault=vault), MemorySecrets({"TOKEN": token})
    source = Source(lambda: open_backend("vault", declared, logins, BackendKinds()))
    return BackendSecrets({"vault": source}, Redactor(), ThreadClock())


def read_all(secrets: BackendSecrets, refs: list[SecretRef]) -> None:
    """As lanes do: each its part, at once."""
    with ThreadPoolExecutor(LANES) as pool:
        assert all(secret.reveal() for secret in pool.map(secrets.read, refs))


def undisturbed(refs: int, seconds: float) -> tuple[float, float, int]:
    """The longest read of those who need another backend while one is away: with it away, with it there; and how many reads who needed it
    had to repeat until it was back."""
    worst: list[float] = []
    repeated = 0
    for is_away in (True, False):
        away, there = AwayBackend(0.2), MemoryBackend()
        for number in range(refs):
            away.put(f"s{number}", {"password": "of-away"})
            there.put(f"s{number}", {"password": "of-there"})
        sources = {"away": Source(lambda found=away: found), "there": Source(lambda found=there: found, 0.0)}  # type: ignore[misc]  # bound now
        secrets = BackendSecrets(sources, Redactor(), ThreadClock(), random.Random(1))
        if not is_away:
            away.back.set()
        ends, longest = time.monotonic() + seconds, 0.0
        with ThreadPoolExecutor(LANES) as pool:
            waiting = [
                pool.submit(until_read, secrets, SecretRef("away", f"s{number}", "password"))
                for number in range(LANES // 2)
            ]
            number = 0
            while time.monotonic() < ends:
                began = time.perf_counter()
                secrets.read(SecretRef("there", f"s{number % refs}", "password"))
                longest, number = max(longest, time.perf_counter() - began), number + 1
                time.sleep(0.005)
            away.back.set()
            tries = [each.result(30) for each in waiting]
        repeated += sum(tries) - len(tries) if is_away else 0
        worst.append(longest)
        secrets.close()
    return worst[0], worst[1], repeated


def until_read(secrets: BackendSecrets, ref: SecretRef) -> int:
    """How many tries it took: whoever needs a secret waits and fails at nothing."""
    tries = 1
    while True:
        try:
            secrets.read(ref)
        except SecretsUnavailable:
            tries += 1
        else:
            return tries


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    count, rounds = (20, 1) if given.tiny else (1_000, 3 if given.quick else 5)
    report = Report("secret_backends", ["hvac"])
    with vault_process() as (address, token):
        admin = hvac.Client(address, token)
        admin.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        for number in range(count):
            admin.secrets.kv.v2.create_or_update_secret(
                f"s{number}", {"password": f"value-{number}-of-the-vault"}, mount_point="kv"
            )
        refs = [SecretRef("vault", f"kv/s{number}", "password") for number in range(count)]

        def ours() -> None:
            secrets = reading(address, token)
            read_all(secrets, refs)
            secrets.close()

        def by_hvac() -> None:
            client = hvac.Client(address, token)
            for number in range(count):
                found = client.secrets.kv.v2.read_secret_version(
                    f"s{number}", mount_point="kv", raise_on_deleted_version=True
                )
                assert found["data"]["data"]["password"]

        cold, reference = interleaved([ours, by_hvac], rounds)
        report.add(
            f"{count:,} references, each of another secret, memory cold",
            cold,
            "s",
            reference="hvac, one after another",
            reference_value=reference,
            goal=f"below {COLD_SECONDS_MAX:g} s",
            met=cold < COLD_SECONDS_MAX,
        )
        warm = reading(address, token)
        read_all(warm, refs)
        again, _ = interleaved([lambda: read_all(warm, refs), lambda: None], rounds)
        warm.close()
        report.add(
            f"the same {count:,} once more, from memory",
            again * MILLISECONDS,
            "ms",
            reference="memory cold",
            reference_value=cold * MILLISECONDS,
            goal="no slower than cold",
            met=again <= cold,
        )
    seconds = 0.5 if given.tiny else AWAY_SECONDS / 6 if given.quick else AWAY_SECONDS
    away, usual, repeated = undisturbed(100, seconds)
    report.add(
        f"longest read from a backend that is there, while another is away for {seconds:g} s and {repeated} reads of it are repeated",
        away * MILLISECONDS,
        "ms",
        reference="while the other is there",
        reference_value=usual * MILLISECONDS,
        goal="delayed by less than 100 ms, and nothing fails",
        met=away - usual < 0.1,
    )
    report.write(given.results)


if __name__ == "__main__":
    main()
