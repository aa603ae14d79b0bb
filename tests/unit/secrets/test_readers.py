"""Backends that tasks bring along are opened once, shared, and closed when nobody has used them for a while."""

from collections.abc import Mapping

import pytest

from pymigrate.engine.adapters.secrets.opening import BackendKinds, open_backend
from pymigrate.engine.adapters.secrets.readers import SecretReaders
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing, SecretRefused
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import BackendOptions, SecretBackend, SecretBackendKind
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.testing.secret_backends import MemoryBackend
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import secret_backend_pb2 as pb

REF = SecretRef("safe", "legacy", "password")
NEVER_SECONDS = 3600.0


class Safe:
    """A kind that another package brings."""

    kind = "safe"

    def __init__(self) -> None:
        self.opened: list[BackendOptions] = []
        self.backends: list[MemoryBackend] = []

    def open(self, options: BackendOptions) -> SecretBackend:
        self.opened.append(options)
        backend = MemoryBackend()
        backend.put("legacy", {"password": f"of-{len(self.opened)}"})
        self.backends.append(backend)
        return backend


class Kinds(BackendKinds):
    """Knows of one more."""

    def __init__(self) -> None:
        super().__init__()
        self.safe = Safe()

    def find(self, kind: str) -> SecretBackendKind:
        return self.safe if kind == "safe" else super().find(kind)


def safe(**options: str) -> pb.SecretBackend:
    return pb.SecretBackend(plugin=pb.PluginBackend(kind="safe", options=options), cache_seconds=5, timeout_seconds=3)


def readers(idle_seconds: float = NEVER_SECONDS) -> tuple[SecretReaders, Kinds, HastyClock]:
    kinds, clock = Kinds(), HastyClock()
    return SecretReaders(Redactor(), clock, kinds, idle_seconds), kinds, clock


def closings(kinds: Kinds) -> list[int]:
    return [backend.closings for backend in kinds.safe.backends]


def test_a_backend_is_opened_when_it_is_read_and_once_for_all_who_bring_the_same() -> None:
    made, kinds, _ = readers()
    one, other = safe(region="north"), safe(region="north")
    other.description = "how it is called makes no other of it"
    with made.held({"safe": one}) as first, made.held({"safe": other, "env": pb.SecretBackend(env=pb.EnvBackend())}):
        assert not kinds.safe.opened
        assert first.read(REF).reveal() == "of-1"
        with made.held({"safe": other}) as second:
            assert second.read(REF).reveal() == "of-1"
        with made.held({"safe": safe(region="south")}) as third:
            assert third.read(REF).reveal() == "of-2"
    options = kinds.safe.opened[0]
    assert (options.scheme, options.options, options.timeout_seconds) == ("safe", {"region": "north"}, 3.0)
    made.close()
    assert closings(kinds) == [1, 1]


def test_what_nobody_uses_is_closed_after_a_while_and_opened_anew() -> None:
    made, kinds, clock = readers(60.0)
    with made.held({"safe": safe()}) as secrets:
        secrets.read(REF)
        clock.wait(60.0)
        made.sweep()
        assert closings(kinds) == [0]
    clock.wait(59.0)
    made.sweep()
    assert closings(kinds) == [0]
    clock.wait(1.0)
    made.sweep()
    assert closings(kinds) == [1]
    assert not len(made)
    with made.held({"safe": safe()}) as secrets:
        assert secrets.read(REF).reveal() == "of-2"
    made.close()


def test_the_timer_closes_by_itself() -> None:
    made, _, _ = readers(0.0)
    with made.held({"safe": safe()}) as secrets:
        secrets.read(REF)
    timer = made._timer
    if timer is not None:
        timer.join()
    assert not len(made)


def test_variables_and_files_are_the_process_s_own_unless_the_environment_declares_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROD_TOKEN", "the-token")
    monkeypatch.setenv("OTHER", "another")
    made, kinds, _ = readers()
    with made.held({}) as secrets:
        assert secrets.read(SecretRef("env", "OTHER")).reveal() == "another"
        with pytest.raises(SecretMissing, match="no secret backend `safe` here, but env://, file://"):
            secrets.read(REF)
    declared = {"env": pb.SecretBackend(env=pb.EnvBackend(prefix="PROD_")), "safe": safe(token="env://PROD_TOKEN")}
    with made.held(declared) as secrets:
        with pytest.raises(SecretRefused, match="begin with PROD_"):
            secrets.read(SecretRef("env", "OTHER"))
        secrets.read(REF)
        options = kinds.safe.opened[0]
        assert options.options == {}
        assert options.secrets.read(options.references["token"]).reveal() == "the-token"
        with pytest.raises(SecretRefused):
            options.secrets.read(SecretRef("env", "OTHER"))
    made.close()


def test_every_way_of_reading_goes_by_the_scheme() -> None:
    made, kinds, _ = readers()
    with made.held({"safe": safe()}) as secrets:
        assert secrets.login("safe") == "Memory 1"
        assert secrets.read(REF).reveal() == "of-1"
        kinds.safe.backends[0].put("legacy", {"password": "newer"})
        assert secrets.reread(REF).reveal() == "newer"
        previous = secrets.previous(REF)
        assert previous is not None
        assert previous.reveal() == "of-1"
        assert secrets.at("1").read(REF).reveal() == "of-1"
        assert secrets.at("1").schemes == secrets.schemes == {"env", "file", "safe"}
        assert secrets.at("") is secrets
    made.close()


@pytest.mark.parametrize(
    ("declared", "options", "references"),
    [
        (
            pb.VaultBackend(
                address="https://v:8200",
                app_role=pb.VaultAppRole(role_id="r", secret_id="file:///s", is_wrapped=True),
                kv_versions={"kv": 2},
            ),
            {"address": "https://v:8200", "app_role": ""}
            | {"app_role.role_id": "r", "app_role.is_wrapped": "true", "kv_versions": '{"kv": 2}'},
            {"app_role.secret_id": "file:///s"},
        ),
        (
            pb.KubernetesSecretsBackend(namespaces=["a", "b"], context="c"),
            {"namespaces": '["a", "b"]', "context": "c"},
            {},
        ),
    ],
)  # fmt: skip
def test_a_backend_is_told_its_fields_as_texts_and_its_references_apart(
    declared: pb.VaultBackend | pb.KubernetesSecretsBackend, options: Mapping[str, str], references: Mapping[str, str]
) -> None:
    class Whatever(BackendKinds):
        """Opens whatever it is."""

        def find(self, kind: str) -> SecretBackendKind:
            return found

    found = Safe()
    which = "vault" if isinstance(declared, pb.VaultBackend) else "kubernetes"
    message = pb.SecretBackend()
    getattr(message, which).CopyFrom(declared)
    open_backend("x", message, MemorySecrets(), Whatever())
    assert found.opened[0].options == options
    assert {name: str(ref) for name, ref in found.opened[0].references.items()} == references


def test_a_kind_that_no_package_brings_says_which_there_are() -> None:
    with pytest.raises(InvalidDefinition, match="no installed package has a secret backend `safes`"):
        BackendKinds().find("safes")
    with pytest.raises(InvalidDefinition, match="older than the engine"):
        open_backend("x", pb.SecretBackend(), MemorySecrets(), BackendKinds())
