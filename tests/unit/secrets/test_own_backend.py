"""The example of a package that brings a secret backend does what every backend does."""

import importlib.util
import json
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing, SecretsUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease, SecretBackendKind
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.testing.secrets import MemorySecrets

EXAMPLE = Path(__file__).parents[3] / "examples" / "secrets" / "own_backend"
REF = SecretRef("mine", "legacy", "password")


@pytest.fixture
def kind() -> SecretBackendKind:
    """What the example's entry point leads to."""
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["pymigrate.secrets"]
    module_name, _, name = points["folder"].partition(":")
    spec = importlib.util.spec_from_file_location(module_name, EXAMPLE / f"{module_name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: SecretBackendKind = getattr(module, name)()
    return made


def keep(folder: Path, version: int, **values: str) -> None:
    (folder / "legacy").mkdir(exist_ok=True)
    (folder / "legacy" / f"{version}.json").write_text(json.dumps(values))


def test_it_reads_versions_and_follows_a_rotation(kind: SecretBackendKind, tmp_path: Path) -> None:
    keep(tmp_path, 1, password="of-one")
    backend = kind.open(BackendOptions("mine", {"folder": str(tmp_path)}, {}, MemorySecrets()))
    secrets = BackendSecrets({"mine": Source(lambda: backend)}, Redactor(), HastyClock())
    assert backend.login() == "folder 1.0"
    assert secrets.read(REF).reveal() == "of-one"
    keep(tmp_path, 2, password="of-two")
    assert secrets.reread(REF).version == "2"
    previous = secrets.previous(REF)
    assert previous is not None
    assert previous.reveal() == secrets.at("1").read(REF).reveal() == "of-one"
    secrets.close()


def test_what_is_not_there_is_missing_and_what_is_not_mounted_away(kind: SecretBackendKind, tmp_path: Path) -> None:
    keep(tmp_path, 1, password="x")
    (tmp_path / "legacy" / "2.json").write_text("hunter2")
    backend = kind.open(BackendOptions("mine", {"folder": str(tmp_path)}, {}, MemorySecrets()))
    for ref, version in ((SecretRef("mine", "other"), ""), (REF, "7"), (SecretRef("mine", "../x"), ""), (REF, "")):
        with pytest.raises(SecretMissing) as missing:
            backend.read(ref, version)
        assert "hunter2" not in str(missing.value)
    with pytest.raises(SecretsUnavailable, match="is not mounted"):
        kind.open(BackendOptions("mine", {"folder": str(tmp_path / "x")}, {}, MemorySecrets())).login()
    with pytest.raises(InvalidDefinition, match="absolute path"):
        kind.open(BackendOptions("mine", {}, {}, MemorySecrets()))
    with pytest.raises(SecretMissing):
        backend.renew(Lease("x", 1.0))
    backend.revoke(Lease("x", 1.0))
    backend.close()
