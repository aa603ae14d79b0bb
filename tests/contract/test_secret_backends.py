"""What every secret backend does, the fake included, and whoever reads through it: the same values and errors, and no value in an error."""

import itertools
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import pytest

from pymigrate.engine.adapters.secrets.env import EnvBackend
from pymigrate.engine.adapters.secrets.file import FileBackend
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import PREVIOUS, SecretBackend
from pymigrate.engine.ports.secrets import HIDDEN, SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.testing.secret_backends import MemoryBackend
from tests.clouds import aws_place, moto_server
from tests.cluster_secrets import ClusterPlace
from tests.clusters import Cluster, cluster
from tests.vaults.place import knows as vault_knows
from tests.vaults.place import vault_place

VALUE = "s3cret-0f-the-backend"
OTHER = "another-s3cret-value"
WORDS = {"username": "legacy_reader", "password": VALUE}


class Place(Protocol):
    """A place that keeps secrets, and what may happen to it."""

    def open(self) -> SecretBackend:
        """A backend that reads it."""
        ...

    def ref(self, name: str, key: str = "") -> SecretRef:
        """How a secret, or one of its keys, is referred to."""
        ...

    def put(self, name: str, values: Mapping[str, str]) -> str:
        """Keeps a secret, as a version of its own where there are versions; what that is called. The empty key is a text without keys."""
        ...

    def happen(self, what: str, name: str) -> None:
        """From now on: `refuses`, `away`, `throttles` or `seals` what has the name."""
        ...


class MemoryPlace:
    """The fake."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()

    def open(self) -> SecretBackend:
        return self.backend

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("memory", name, key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        return self.backend.put(name, values)

    def lease(self, name: str, seconds: float) -> SecretRef:
        self.backend.make(name, seconds)
        return self.ref(name, "password")

    def revoke_all(self) -> None:
        self.backend.leases.clear()

    def living(self) -> int:
        return len(self.backend.leases)

    def happen(self, what: str, name: str) -> None:
        refused = SecretRefused("memory://legacy#password: not for you")
        self.backend.failure = refused if what == "refuses" else SecretsUnavailable(what, retry_after_seconds=0.5)


class EnvPlace:
    """Variables."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.prefix = ""

    def open(self) -> SecretBackend:
        return EnvBackend(self.prefix, self.variables)

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("env", name.upper(), key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        self.variables[name.upper()] = written(values)
        return ""

    def happen(self, what: str, name: str) -> None:
        self.prefix = "PROD_"


class FilePlace:
    """Files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "secrets"
        self.folder.mkdir()
        self.outside = folder / "outside"

    def open(self) -> SecretBackend:
        return FileBackend(str(self.folder))

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("file", str(self.folder / name), key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        (self.folder / name).write_text(written(values))
        return ""

    def happen(self, what: str, name: str) -> None:
        (self.folder / name).replace(self.outside)
        (self.folder / name).symlink_to(self.outside)


def written(values: Mapping[str, str]) -> str:
    return values[""] if "" in values else json.dumps(dict(values))


NUMBERS = itertools.count(1)

# What each knows of, besides secrets with keys: `text` (one without), `versions`, `leases`, and what may happen to it.
PLACES: dict[str, tuple[Callable[..., AbstractContextManager[Place]], set[str]]] = {
    "memory": (
        lambda _: nullcontext(MemoryPlace()),
        {"text", "versions", "leases", "refuses", "away", "throttles", "seals"},
    ),
    "env": (lambda _: nullcontext(EnvPlace()), {"text", "refuses"}),
    "file": (lambda folder: nullcontext(FilePlace(folder)), {"text", "refuses"}),
    "vault-kv-1": (lambda _: vault_place(1), vault_knows(1)),
    "vault-kv-2": (lambda _: vault_place(2), vault_knows(2)),
    "aws": (
        lambda _, address: aws_place(address, f"n{next(NUMBERS)}"),
        {"text", "versions", "refuses", "away", "throttles"},
    ),
    "kubernetes": (lambda _, made: nullcontext(ClusterPlace(made, f"n{next(NUMBERS)}")), {"refuses", "away"}),
}
# What takes long to start, and is started once for all of these tests.
SERVERS = {"aws": "moto", "kubernetes": "api_server"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    make, _ = PLACES[request.param]
    server = [request.getfixturevalue(SERVERS[request.param])] if request.param in SERVERS else []
    with make(tmp_path, *server) as made:
        yield made


def where(*words: str) -> pytest.MarkDecorator:
    """Only those places that know of all of it."""
    names = [name for name, (_, knows) in PLACES.items() if knows.issuperset(words)]
    return pytest.mark.parametrize("place", names, indirect=True)


def reader(place: Place, redactor: Redactor | None = None, cache_seconds: float = 30.0) -> BackendSecrets:
    scheme = place.ref("x").scheme
    sources = {scheme: Source(place.open, cache_seconds)}
    return BackendSecrets(sources, redactor or Redactor(), HastyClock(), has_thread=False)


def told(error: BaseException) -> str:
    """Everything that the error and its causes say."""
    return "".join(traceback.format_exception(error))


def failure(place: Place, ref: SecretRef, kind: type[PyMigrateError], version: str = "") -> str:
    with pytest.raises(kind) as failed:
        place.open().read(ref, version)
    assert str(ref) in str(failed.value) or kind is not SecretMissing
    said = told(failed.value)
    for value in (VALUE, OTHER, WORDS["username"]):
        assert value not in said
    return said


def test_who_is_there_can_be_logged_in_to(place: Place) -> None:
    assert place.open().login()


@where("text")
def test_a_text_without_keys_is_read_whole(place: Place) -> None:
    place.put("legacy", {"": VALUE})
    document = place.open().read(place.ref("legacy"))
    assert document.values[""].reveal() == VALUE


def test_each_key_is_read_out_of_one_document(place: Place) -> None:
    place.put("legacy", WORDS)
    document = place.open().read(place.ref("legacy", "password"))
    assert {key: secret.reveal() for key, secret in document.values.items() if key} == WORDS
    assert VALUE not in repr(document)


def test_a_secret_that_is_not_there_is_missing_by_its_reference(place: Place) -> None:
    place.put("legacy", WORDS)
    ref = place.ref("nowhere", "password")
    assert str(ref) in failure(place, ref, SecretMissing)


def test_a_key_that_is_not_there_is_missing_by_its_reference(place: Place) -> None:
    place.put("legacy", WORDS)
    with pytest.raises(SecretMissing, match="nothing_such") as missing:
        reader(place).read(place.ref("legacy", "nothing_such"))
    assert VALUE not in told(missing.value)


@where("refuses")
def test_what_may_not_be_read_is_refused_and_not_told(place: Place) -> None:
    place.put("legacy", WORDS)
    place.happen("refuses", "legacy")
    ref = place.ref("legacy", "password")
    assert str(ref) in failure(place, ref, SecretRefused)


@pytest.mark.parametrize(
    ("place", "what"),
    [(name, what) for name, (_, knows) in PLACES.items() for what in ("away", "throttles", "seals") if what in knows],
    indirect=["place"],
)
def test_a_place_that_does_not_answer_now_is_unavailable(place: Place, what: str) -> None:
    place.put("legacy", WORDS)
    place.happen(what, "legacy")
    failure(place, place.ref("legacy", "password"), SecretsUnavailable)
    with pytest.raises(SecretsUnavailable) as failed:
        reader(place).read(place.ref("legacy", "password"))
    assert VALUE not in told(failed.value)


@where("versions")
def test_a_version_is_read_by_its_name(place: Place) -> None:
    first = place.put("legacy", WORDS)
    second = place.put("legacy", {**WORDS, "password": OTHER})
    backend, ref = place.open(), place.ref("legacy", "password")
    for version, value in ((first, VALUE), (second, OTHER), ("", OTHER), (PREVIOUS, VALUE)):
        document = backend.read(ref, version)
        assert document.values["password"].reveal() == value
        assert document.values["password"].version == document.version != ""
    assert backend.read(ref, first).version == backend.read(ref, PREVIOUS).version
    assert reader(place).at(first).read(ref).reveal() == VALUE
    assert reader(place).at("").read(ref).reveal() == OTHER


def test_a_version_that_never_was_is_missing(place: Place) -> None:
    place.put("legacy", WORDS)
    ref = place.ref("legacy", "password")
    assert str(ref) in failure(place, ref, SecretMissing, "4711")


def test_the_first_version_has_none_before_it(place: Place) -> None:
    place.put("legacy", WORDS)
    assert reader(place).previous(place.ref("legacy", "password")) is None


def test_a_new_value_is_seen_once_the_one_in_memory_is_old_and_at_once_where_it_is_asked_for(place: Place) -> None:
    place.put("legacy", WORDS)
    secrets, clock, ref = reader(place), HastyClock(), place.ref("legacy", "password")
    secrets = BackendSecrets({ref.scheme: Source(place.open, 30.0)}, Redactor(), clock, has_thread=False)
    assert secrets.read(ref).reveal() == VALUE
    place.put("legacy", {**WORDS, "password": OTHER})
    clock.wait(29.0)
    assert secrets.read(ref).reveal() == VALUE
    clock.wait(1.0)
    assert secrets.read(ref).reveal() == OTHER
    place.put("legacy", WORDS)
    assert secrets.reread(ref).reveal() == VALUE
    assert secrets.read(ref).reveal() == VALUE


def test_the_value_before_a_new_one_is_known_still(place: Place) -> None:
    place.put("legacy", WORDS)
    secrets, ref = reader(place), place.ref("legacy", "password")
    secrets.read(ref)
    place.put("legacy", {**WORDS, "password": OTHER})
    assert secrets.reread(ref).reveal() == OTHER
    previous = secrets.previous(ref)
    assert previous is not None
    assert previous.reveal() == VALUE


def test_the_redactor_hears_of_each_value_before_anybody_has_it(place: Place) -> None:
    place.put("legacy", WORDS)
    redactor = Redactor()
    reader(place, redactor).read(place.ref("legacy", "password"))
    assert redactor.clean(f"password={VALUE}") == f"password={HIDDEN}"


def test_a_backend_is_closed_twice_and_its_reader_too(place: Place) -> None:
    place.put("legacy", WORDS)
    backend, secrets = place.open(), reader(place)
    backend.read(place.ref("legacy", "password"))
    backend.close()
    backend.close()
    secrets.read(place.ref("legacy", "password"))
    secrets.close()
    secrets.close()
    with pytest.raises(SecretsUnavailable, match="ending"):
        secrets.read(place.ref("legacy", "password"))


class LeasingPlace(Place, Protocol):
    """One that makes credentials on demand."""

    def lease(self, name: str, seconds: float) -> SecretRef:
        """From now on whoever reads there gets a password of their own, for so many seconds from then or from the last renewal."""
        ...

    def revoke_all(self) -> None:
        """Ends all that live."""
        ...

    def living(self) -> int:
        """How many live."""
        ...


@where("leases")
def test_what_is_made_on_demand_has_a_lease_and_is_another_each_time(place: LeasingPlace) -> None:
    ref, backend = place.lease("creds/reader", 60.0), place.open()
    one, other = backend.read(ref), backend.read(ref)
    assert one.lease is not None
    assert one.lease.seconds == pytest.approx(60.0, abs=5.0)
    assert one.values["password"].reveal() != other.values["password"].reveal()
    assert one.version != other.version
    backend.close()


@where("leases")
def test_a_lease_is_renewed_and_revoked_once_and_ended_ones_are_missing(place: LeasingPlace) -> None:
    ref, backend = place.lease("creds/reader", 60.0), place.open()
    lease = backend.read(ref).lease
    assert lease is not None
    renewed = backend.renew(lease)
    assert renewed.seconds > 0
    backend.revoke(renewed)
    assert place.living() == 0
    backend.revoke(renewed)
    with pytest.raises(SecretMissing):
        backend.renew(renewed)


@where("leases")
def test_credentials_are_kept_while_their_lease_is_renewed_and_revoked_at_the_end(place: LeasingPlace) -> None:
    ref, clock = place.lease("creds/reader", 60.0), HastyClock()
    secrets = BackendSecrets({ref.scheme: Source(place.open)}, Redactor(), clock, has_thread=False)
    first = secrets.read(ref)
    assert secrets.read(ref) == first
    assert place.living() == 1
    clock.wait(secrets.tend())
    secrets.tend()
    assert secrets.read(ref) == first
    secrets.close()
    assert place.living() == 0


@where("leases")
def test_credentials_whose_lease_was_revoked_are_made_anew(place: LeasingPlace) -> None:
    ref, clock = place.lease("creds/reader", 60.0), HastyClock()
    secrets = BackendSecrets({ref.scheme: Source(place.open)}, Redactor(), clock, has_thread=False)
    first = secrets.read(ref)
    place.revoke_all()
    clock.wait(secrets.tend())
    secrets.tend()
    assert secrets.read(ref) != first
    assert place.living() == 1
    secrets.close()
