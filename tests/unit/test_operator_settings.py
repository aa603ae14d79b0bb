"""The settings of the Kubernetes operator."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.main.operator_admission import OperatorAdmission
from pymigrate.engine.main.operator_settings import OperatorSettings
from pymigrate.engine.settings import Settings


def test_everything_has_a_default_and_probes_are_on_loopback() -> None:
    settings = OperatorSettings()
    assert (settings.environments, settings.namespace, settings.workers) == ("namespace", "", 256)
    assert (settings.listen, settings.lease, settings.kubeconfig) == ("127.0.0.1:7436", "pymigrate-operator", None)


def test_the_environment_is_read_and_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_OPERATOR_ENVIRONMENTS", "annotation")
    monkeypatch.setenv("PYMIGRATE_OPERATOR_NAMESPACE", "prod")
    monkeypatch.setenv("PYMIGRATE_OPERATOR_KUBECONFIG", "")
    settings = OperatorSettings()
    assert (settings.environments, settings.namespace, settings.kubeconfig) == ("annotation", "prod", None)


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_OPERATOR_NAMESPACE", "prod")
    monkeypatch.setenv("PYMIGRATE_OPERATOR_WORKERS", "8")
    settings = OperatorSettings(namespace="test")
    assert (settings.namespace, settings.workers) == ("test", 8)


@pytest.mark.parametrize("listen", ["0.0.0.0:7436", "[::]:1", ""])
def test_probes_may_be_listened_for_anywhere_or_nowhere(listen: str) -> None:
    assert OperatorSettings(listen=listen).listen == listen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("environments", "label"),
        ("namespace", "Prod"),
        ("workers", 3),
        ("workers", 1_025),
        ("lease", ""),
        ("listen", "7436"),
        ("listen", "127.0.0.1:x"),
        ("listen", "127.0.0.1:65536"),
        ("admission_listen", "7437"),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        OperatorSettings.model_validate({name: value})


def test_a_webhook_is_served_where_it_is_asked_for_alone_and_never_without_a_certificate(tmp_path: Path) -> None:
    assert OperatorSettings().admission_listen == ""
    engine = EngineCalls(EngineAccess.of(tmp_path, {}))
    with pytest.raises(PermanentError, match="set PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY"):
        OperatorAdmission(Settings(home=tmp_path), OperatorSettings(admission_listen="127.0.0.1:0"), engine)
