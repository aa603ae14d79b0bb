"""How a system is opened while the secrets that let one in are in rotation."""

from collections.abc import Callable

import pytest

from pymigrate.engine.domain.errors import CredentialsRefused, SecretMissing, SecretsUnavailable
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.entrypoints.worker.versions import LOOK_SECONDS, SHUN_SECONDS, Watch
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import connection_pb2

REF = "env://PG"
FIELD = "target.connection"


class Server:
    """Lets in whoever has one of `taken`, and remembers what it was shown."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.shown: list[str] = []

    def open(self, spec: SystemSpec) -> str:
        assert spec.password is not None
        self.shown.append(spec.password.reveal())
        if self.shown[-1] not in self.taken:
            raise CredentialsRefused("no")
        return self.shown[-1]


class Scene:
    """A connection, its secret, and a clock that a test sets; looks are taken at once."""

    def __init__(self, *values: str, beside: Callable[[Callable[[], None]], None] = lambda look: look()) -> None:
        self.now = 0.0
        self.secrets = MemorySecrets()
        for value in values:
            self.secrets.put(REF, value)
        self.connection = connection_pb2.Connection(
            name="environments/e/connections/crm", postgres=connection_pb2.PostgresSystem(host="db", password=REF)
        )
        watch = Watch(self.secrets, lambda: self.now, beside)
        self.credentials = Credentials(self.connection, self.secrets, FIELD, watch)

    def stale_after(self, seconds: float) -> bool:
        """What is told the second time, when the look of the first has ended."""
        self.now += seconds
        self.credentials.is_stale()
        return self.credentials.is_stale()


def test_what_memory_holds_is_good_as_long_as_it_is_taken() -> None:
    scene, server = Scene("a"), Server("a")
    for _ in range(3):
        assert scene.credentials.open(server.open) == "a"
    assert (scene.secrets.reads[REF], scene.secrets.rereads[REF]) == (3, 0)
    assert scene.credentials.versions() == {REF: "1"}


def test_a_secret_that_was_told_after_it_was_read_is_read_again_once() -> None:
    scene, server = Scene("a"), Server("a")
    scene.credentials.open(server.open)
    scene.secrets.is_stale = True
    scene.secrets.put(REF, "b")
    server.taken = {"b"}
    assert scene.credentials.open(server.open) == "b"
    assert server.shown == ["a", "a", "b"]
    assert scene.credentials.versions() == {REF: "2"}


def test_a_secret_that_was_told_before_the_system_knew_it_is_opened_by_the_version_before() -> None:
    scene, server = Scene("a", "b"), Server("a")
    assert scene.credentials.open(server.open) == "a"
    assert server.shown == ["b", "b", "a"]
    assert scene.credentials.versions() == {REF: "1"}


def test_a_login_that_no_value_opens_is_refused_with_its_side_after_three_tries() -> None:
    scene, server = Scene("a", "b"), Server("c")
    with pytest.raises(CredentialsRefused) as refused:
        scene.credentials.open(server.open)
    assert (refused.value.field, server.shown) == (FIELD, ["b", "b", "a"])


def test_a_system_that_has_one_version_only_is_tried_twice() -> None:
    scene, server = Scene("a"), Server()
    with pytest.raises(CredentialsRefused):
        scene.credentials.open(server.open)
    assert server.shown == ["a", "a"]


def test_a_backend_that_goes_away_meanwhile_leaves_the_refusal_as_the_reason() -> None:
    scene, server = Scene("a"), Server("a")
    scene.credentials.open(server.open)
    server.taken = set()

    def refuse(spec: SystemSpec) -> str:
        scene.secrets.failures[REF] = SecretsUnavailable(f"{REF}: its backend does not answer")
        return server.open(spec)

    with pytest.raises(CredentialsRefused) as refused:
        scene.credentials.open(refuse)
    assert "does not answer" in "".join(refused.value.__notes__)


@pytest.mark.parametrize(("is_away", "kind"), [(True, SecretsUnavailable), (False, SecretMissing)])
def test_a_secret_that_can_not_be_read_is_told_with_its_side(is_away: bool, kind: type[Exception]) -> None:
    scene = Scene()
    if is_away:
        scene.secrets.failures[REF] = SecretsUnavailable("away")
    with pytest.raises(kind) as unread:
        scene.credentials.open(Server().open)
    assert unread.value.field == FIELD  # type: ignore[attr-defined]  # of every error of ours


def test_whoever_only_looks_learns_whether_the_present_secret_is_good() -> None:
    scene, server = Scene("a", "b"), Server("a")
    looking = Credentials(scene.connection, scene.secrets, is_patient=False)
    with pytest.raises(CredentialsRefused):
        looking.open(server.open)
    assert (server.shown, scene.secrets.rereads[REF]) == (["b"], 1)


def test_user_and_password_of_one_document_are_read_anew_together() -> None:
    scene = Scene("a")
    scene.connection.http.base_url = "http://x"
    for name in ("user", "password"):
        scene.secrets.put(f"{REF}#{name}", name)
        scene.connection.http.headers[name] = f"{REF}#{name}"

    def refuse(spec: SystemSpec) -> None:
        del spec
        raise CredentialsRefused("no")

    with pytest.raises(CredentialsRefused):
        scene.credentials.open(refuse)
    assert sum(scene.secrets.rereads.values()) == 1


def test_a_new_value_is_noticed_within_seconds_and_only_looked_for_so_often() -> None:
    scene, server = Scene("a"), Server("a", "b")
    scene.credentials.open(server.open)
    scene.secrets.put(REF, "b")
    asked = scene.secrets.reads[REF]
    assert not scene.stale_after(LOOK_SECONDS / 2)
    assert scene.secrets.reads[REF] == asked
    assert scene.stale_after(LOOK_SECONDS)
    scene.credentials.open(server.open)
    assert not scene.stale_after(LOOK_SECONDS)
    assert scene.credentials.versions() == {REF: "2"}


def test_a_new_version_of_the_same_value_is_told_and_nothing_is_opened_for_it() -> None:
    scene, server = Scene("a"), Server("a")
    scene.credentials.open(server.open)
    scene.secrets.put(REF, "a")
    assert not scene.stale_after(LOOK_SECONDS)
    assert scene.credentials.versions() == {REF: "2"}


def test_a_value_that_was_just_refused_is_tried_again_after_a_while_only() -> None:
    scene, server = Scene("a", "b"), Server("a")
    scene.credentials.open(server.open)
    assert not scene.stale_after(LOOK_SECONDS)
    assert scene.stale_after(SHUN_SECONDS)


def test_a_session_that_is_kept_is_no_more_stale_until_there_is_another_value_again() -> None:
    scene, server = Scene("a"), Server("a")
    scene.credentials.open(server.open)
    scene.secrets.put(REF, "b")
    assert scene.stale_after(LOOK_SECONDS)
    scene.credentials.keep()
    assert not scene.stale_after(10 * SHUN_SECONDS)
    scene.secrets.put(REF, "c")
    assert scene.stale_after(LOOK_SECONDS)
    assert scene.credentials.versions() == {REF: "1"}


def test_a_backend_that_is_away_is_no_concern_of_what_is_open_and_holds_nobody_up() -> None:
    looks: list[Callable[[], None]] = []
    scene, server = Scene("a", beside=looks.append), Server("a")
    scene.credentials.open(server.open)
    scene.secrets.failures[REF] = SecretsUnavailable("away")
    for _ in range(5):
        assert not scene.stale_after(LOOK_SECONDS)
    assert len(looks) == 1  # the first has not ended
    looks.pop()()
    assert not scene.stale_after(LOOK_SECONDS)


def test_what_is_refused_later_is_tried_by_the_ways_that_are_left() -> None:
    scene = Scene("a", "b")
    server = Server("a", "b")
    assert [scene.credentials.open(server.open), scene.credentials.doubt()] == ["b", True]
    assert [scene.credentials.open(server.open), scene.credentials.doubt()] == ["b", True]
    assert [scene.credentials.open(server.open), scene.credentials.doubt()] == ["a", False]
    assert scene.secrets.rereads[REF] == 1
