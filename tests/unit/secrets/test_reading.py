"""Secrets are read through memory: one asks for all, for a bounded life, and with patience."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.testing.secret_backends import MemoryBackend

PASSWORD = SecretRef("memory", "legacy", "password")
AWAY = SecretsUnavailable("memory is away", retry_after_seconds=0.1)
THREADS = 16
SECONDS_MAX = 20.0


class Held(MemoryBackend):
    """Answers when it is let, and tells when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        document = super().read(ref, version)
        if ref.location == "legacy":
            self.asked.release()
            assert self.let.acquire(timeout=SECONDS_MAX)
        return document


class Decrypting(MemoryBackend):
    """Gives what each key asks for alone."""

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        self.reads[f"{ref}"] += 1
        return SecretDocument({ref.key: Secret(ref.key.upper())}, is_whole=False)


def reader(backend: MemoryBackend, clock: HastyClock | None = None, documents_max: int = 100) -> BackendSecrets:
    sources = {"memory": Source(lambda: backend), "broken": Source(Broken)}
    return BackendSecrets(
        sources, Redactor(), clock or HastyClock(), random.Random(7), documents_max=documents_max, has_thread=False
    )


class Broken(MemoryBackend):
    """Fails in words of its own."""

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        raise KeyError("hunter2")

    def close(self) -> None:
        raise OSError("hunter2")


def test_many_who_read_one_secret_at_once_ask_for_it_once_and_hold_up_nobody_else() -> None:
    backend = Held()
    backend.put("legacy", {"password": "hunter22"})
    backend.put("other", {"password": "hunter23"})
    secrets = reader(backend)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(secrets.read, PASSWORD) for _ in range(THREADS - 1)]
        assert backend.asked.acquire(timeout=SECONDS_MAX)
        assert (
            pool.submit(secrets.read, SecretRef("memory", "other", "password")).result(SECONDS_MAX).reveal()
            == "hunter23"
        )
        backend.let.release()
        assert {each.result(SECONDS_MAX).reveal() for each in waiting} == {"hunter22"}
    assert backend.reads["legacy"] == 1


def test_who_rereads_is_not_given_what_was_asked_for_before() -> None:
    backend = Held()
    backend.put("legacy", {"password": "hunter22"})
    secrets = reader(backend)
    with ThreadPoolExecutor(THREADS) as pool:
        before = pool.submit(secrets.read, PASSWORD)
        assert backend.asked.acquire(timeout=SECONDS_MAX)
        backend.put("legacy", {"password": "hunter23"})
        backend.let.release(THREADS)
        after = [pool.submit(secrets.reread, PASSWORD) for _ in range(THREADS - 1)]
        assert before.result(SECONDS_MAX).reveal() == "hunter22"
        assert {each.result(SECONDS_MAX).reveal() for each in after} == {"hunter23"}


def test_those_who_wait_for_one_that_fails_have_an_error_of_their_own() -> None:
    backend = Held()
    secrets = reader(backend)
    backend.put("legacy", {"username": "reader"})
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(secrets.read, PASSWORD) for _ in range(4)]
        backend.let.release(THREADS)
        errors = [each.exception(SECONDS_MAX) for each in waiting]
    assert all(isinstance(error, SecretMissing) for error in errors)
    assert len({id(error) for error in errors}) == len(errors)


def test_a_backend_that_is_away_is_asked_again_with_growing_breaks_and_for_a_bounded_time() -> None:
    backend, clock = MemoryBackend(), HastyClock()
    backend.put("legacy", {"password": "hunter22"})
    backend.failure = AWAY
    with pytest.raises(SecretsUnavailable):
        reader(backend, clock).read(PASSWORD)
    assert backend.reads["legacy"] == 4
    assert clock.waits == sorted(clock.waits)
    assert clock.monotonic() <= 5.0


def test_a_backend_that_asks_for_more_patience_than_there_is_is_left_alone() -> None:
    backend, clock = MemoryBackend(), HastyClock()
    backend.failure = SecretsUnavailable("sealed", retry_after_seconds=60.0)
    with pytest.raises(SecretsUnavailable) as failed:
        reader(backend, clock).read(PASSWORD)
    assert failed.value.retry_after_seconds == 60.0
    assert backend.reads["legacy"] == 1
    assert not clock.waits


def test_what_is_in_memory_is_used_until_its_life_ends_though_its_backend_is_away() -> None:
    backend, clock = MemoryBackend(), HastyClock()
    backend.put("legacy", {"password": "hunter22"})
    secrets = reader(backend, clock)
    secrets.read(PASSWORD)
    backend.failure = AWAY
    clock.wait(29.0)
    assert secrets.read(PASSWORD).reveal() == "hunter22"
    clock.wait(1.0)
    with pytest.raises(SecretsUnavailable):
        secrets.read(PASSWORD)
    backend.failure = None
    assert secrets.read(PASSWORD).reveal() == "hunter22"


def test_memory_holds_a_bounded_number_and_forgets_what_was_asked_for_longest_ago() -> None:
    backend = MemoryBackend()
    for name in ("a", "b", "c"):
        backend.put(name, {"": name})
    secrets = reader(backend, documents_max=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        secrets.read(SecretRef("memory", name))
    assert backend.reads == {"a": 1, "b": 2, "c": 1}


def test_a_key_that_was_added_is_found_before_the_document_is_old() -> None:
    backend = MemoryBackend()
    backend.put("legacy", {"username": "reader"})
    secrets = reader(backend)
    assert secrets.read(SecretRef("memory", "legacy", "username")).reveal() == "reader"
    backend.put("legacy", {"username": "reader", "password": "hunter22"})
    assert secrets.read(PASSWORD).reveal() == "hunter22"
    with pytest.raises(SecretMissing, match="name one of its keys"):
        secrets.read(SecretRef("memory", "legacy"))


def test_documents_that_hold_one_key_alone_are_kept_by_key() -> None:
    backend = Decrypting()
    secrets = reader(backend)
    refs = [SecretRef("memory", "decrypt/key", key) for key in ("abc", "def", "ghi")]
    for _ in range(3):
        assert [secrets.read(ref).reveal() for ref in refs] == ["ABC", "DEF", "GHI"]
    assert backend.reads.total() <= len(refs) + 1


def test_what_a_backend_says_in_words_of_its_own_is_not_repeated() -> None:
    secrets = reader(MemoryBackend())
    with pytest.raises(SecretsUnavailable, match="failed with KeyError") as failed:
        secrets.read(SecretRef("broken", "x"))
    assert "hunter2" not in str(failed.value)
    assert failed.value.__suppress_context__
    secrets.close()


def test_a_scheme_without_a_backend_is_missing_with_those_that_there_are() -> None:
    with pytest.raises(SecretMissing, match="no secret backend `vault` here, but broken://, memory://"):
        reader(MemoryBackend()).read(SecretRef("vault", "kv/legacy", "password"))


@pytest.mark.parametrize("refused", [SecretMissing("no"), SecretRefused("no")])
def test_a_backend_without_former_versions_has_none_before_the_first(refused: SecretMissing | SecretRefused) -> None:
    backend = MemoryBackend()
    backend.put("legacy", {"password": "hunter22"})
    secrets = reader(backend)
    secrets.read(PASSWORD)
    backend.failure = refused
    assert secrets.previous(PASSWORD) is None


def leased(seconds: float, *, is_renewable: bool = True) -> tuple[MemoryBackend, HastyClock, BackendSecrets]:
    backend, clock = MemoryBackend(), HastyClock()
    backend.make("creds/reader", seconds, is_renewable=is_renewable)
    return backend, clock, reader(backend, clock)


MADE = SecretRef("memory", "creds/reader", "password")


def test_a_lease_is_renewed_at_two_thirds_of_its_life_and_long_ones_more_often() -> None:
    for seconds, due in ((60.0, 40.0), (90_000.0, 300.0)):
        backend, clock, secrets = leased(seconds)
        first = secrets.read(MADE)
        assert secrets.tend() == pytest.approx(due)
        assert not backend.renewals
        for _ in range(5):
            clock.wait(due)
            assert secrets.tend() == pytest.approx(due)
        assert backend.renewals.total() == 5
        assert secrets.read(MADE) == first
        assert backend.reads["creds/reader"] == 1


def test_a_lease_whose_backend_is_away_is_tried_again_until_it_ends() -> None:
    backend, clock, secrets = leased(60.0)
    first = secrets.read(MADE)
    backend.failure = AWAY
    clock.wait(40.0)
    assert secrets.tend() == pytest.approx(1.0)
    clock.wait(1.0)
    assert secrets.tend() == pytest.approx(2.0)
    assert secrets.read(MADE) == first
    backend.failure = None
    clock.wait(2.0)
    assert secrets.tend() == pytest.approx(40.0)
    backend.failure = AWAY
    while clock.monotonic() < 43.0 + 60.0:
        clock.wait(max(secrets.tend(), 0.1))
    with pytest.raises(SecretsUnavailable):
        secrets.read(MADE)


def test_credentials_that_can_not_be_renewed_are_followed_by_others_before_they_end() -> None:
    backend, clock, secrets = leased(60.0, is_renewable=False)
    first = secrets.read(MADE)
    clock.wait(40.0)
    secrets.tend()
    second = secrets.read(MADE)
    assert second != first
    assert len(backend.leases) == 2
    secrets.close()
    assert not backend.leases


def test_credentials_near_the_last_day_of_their_lease_are_followed_by_others() -> None:
    backend, clock, secrets = leased(60.0)
    first = secrets.read(MADE)
    backend.leases = {name: type(lease)(lease.id, 5.0) for name, lease in backend.leases.items()}
    clock.wait(40.0)
    secrets.tend()
    assert secrets.read(MADE) != first


def test_rereading_makes_other_credentials_and_leaves_the_former_to_whoever_uses_them() -> None:
    backend, _, secrets = leased(60.0)
    first = secrets.read(MADE)
    assert secrets.reread(MADE) != first
    assert len(backend.leases) == 2
    assert not backend.revoked
    secrets.close()
    assert sorted(backend.revoked) == ["creds/reader/1", "creds/reader/2"]


def test_closing_ends_though_leases_can_not_be_revoked() -> None:
    backend, _, secrets = leased(60.0)
    secrets.read(MADE)
    backend.failure = AWAY
    secrets.close()
    assert backend.closings == 1


def test_the_thread_renews_by_itself_and_ends_with_its_reader() -> None:
    backend, clock = MemoryBackend(), HastyClock()
    backend.make("creds/reader", 60.0)
    secrets = BackendSecrets({"memory": Source(lambda: backend)}, Redactor(), clock)
    secrets.read(MADE)
    threads = named("secret-leases")
    assert len(threads) == 1
    clock.wait(40.0)
    secrets.read(MADE)
    backend.make("creds/writer", 60.0)
    secrets.read(SecretRef("memory", "creds/writer", "password"))  # it looks at what is due, the first one too
    wait_until(lambda: backend.renewals.total() == 1)
    secrets.close()
    assert not any(thread.is_alive() for thread in threads)


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(int(SECONDS_MAX * 100)):
        if is_so():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never was so")
