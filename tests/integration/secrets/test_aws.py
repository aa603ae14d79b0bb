"""AWS Secrets Manager on a real socket: stages, roles, replaced keys, and every error in the engine's words without what AWS said."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pymigrate.engine.adapters.secrets.aws import SPARE, AwsBackend, AwsKind
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.testing.secrets import MemorySecrets
from tests.clouds import KEYS, NOBODY, STS_VARIABLE, RoleSessions, aws_client, aws_options, moto_server, saying

ROLE = "arn:aws:iam::123456789012:role/pymigrate"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


def opened(address: str, secrets: MemorySecrets | None = None, **options: str) -> AwsBackend:
    return AwsKind().open(aws_options(address, secrets, **options))


def a_secret(address: str, name: str, **content: Any) -> dict[str, Any]:
    client: Any = aws_client(address)
    found: dict[str, Any] = client.create_secret(Name=name, **content)
    return found


def ref(location: str, key: str = "") -> SecretRef:
    return SecretRef("aws-sm", location, key)


def test_a_secret_is_read_by_its_arn_and_a_pending_stage_by_its_name(moto: str) -> None:
    made, client = a_secret(moto, "prod/pending", SecretString='{"password": "now"}'), aws_client(moto)
    client.put_secret_value(  # type: ignore[attr-defined]  # boto3
        SecretId="prod/pending", SecretString='{"password": "soon"}', VersionStages=["AWSPENDING"]
    )
    backend = opened(moto)
    assert backend.login() == "AWS Secrets Manager, eu-central-1"
    assert backend.read(ref(made["ARN"], "password")).values["password"].reveal() == "now"
    pending = backend.read(ref("prod/pending", "password"), "AWSPENDING")
    assert pending.values["password"].reveal() == "soon"
    assert backend.read(ref("prod/pending"), pending.version).version == pending.version
    backend.close()


def test_a_secret_of_bytes_is_missing_as_text(moto: str) -> None:
    a_secret(moto, "bytes", SecretBinary=b"\x00\x01")
    backend = opened(moto)
    with pytest.raises(SecretMissing, match="holds bytes"):
        backend.read(ref("bytes"))
    backend.close()


def test_a_role_is_taken_on_before_anything_is_read(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STS_VARIABLE, moto)
    a_secret(moto, "by-role", SecretString="x")
    backend = opened(moto, role_arn=ROLE, external_id="ours")
    assert backend.read(ref("by-role")).values[""].reveal() == "x"
    assert backend._ends is not None
    backend.close()


def test_a_role_is_taken_on_anew_before_its_session_ends_and_not_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HastyClock()
    with RoleSessions(clock, timedelta(hours=1)).serving() as address:
        monkeypatch.setenv(STS_VARIABLE, address)
        backend = AwsBackend(aws_options(address, role_arn=ROLE), clock)

        def read_by() -> str:
            return backend.read(ref("x")).values[""].reveal()

        assert [read_by(), read_by()] == ["session-1", "session-1"]
        clock.wait((timedelta(hours=1) - SPARE).total_seconds() - 1)
        assert read_by() == "session-1"
        clock.wait(1)
        assert [read_by(), read_by()] == ["session-2", "session-2"]
        clock.wait(SPARE.total_seconds())  # the first session has ended, and the second goes on
        assert read_by() == "session-2"
        backend.close()


def test_a_role_whose_session_ended_early_is_taken_on_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, clock = HastyClock(), HastyClock()
    with RoleSessions(clock, timedelta(hours=1)).serving() as address:
        monkeypatch.setenv(STS_VARIABLE, address)
        backend = AwsBackend(aws_options(address, role_arn=ROLE), stopped)  # by its own clock no time has passed
        assert backend.read(ref("x")).values[""].reveal() == "session-1"
        clock.wait(3_600)
        assert backend.read(ref("x")).values[""].reveal() == "session-2"
        backend.close()


def test_keys_that_were_replaced_are_read_once_more(moto: str) -> None:
    secrets = MemorySecrets(KEYS)
    with saying(403, "UnrecognizedClientException") as refusing:
        backend = opened(refusing, secrets)
        with pytest.raises(SecretRefused, match="UnrecognizedClientException"):
            backend.read(ref("x"))
    assert secrets.reads["env://AWS_SECRET_KEY"] == 2
    backend.close()


def test_without_credentials_it_is_refused_and_says_where(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    backend = AwsKind().open(
        BackendOptions("aws-sm", {"region": "eu-central-1", "endpoint_url": moto}, {}, MemorySecrets())
    )
    with pytest.raises(SecretRefused, match="no credentials for AWS"):
        backend.login()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ResourceNotFoundException", SecretMissing),
        (400, "InvalidRequestException", SecretMissing),
        (400, "DecryptionFailure", SecretRefused),
        (400, "AccessDeniedException", SecretRefused),
        (403, "SignatureDoesNotMatch", SecretRefused),
        (400, "ExpiredTokenException", SecretRefused),
        (400, "ThrottlingException", SecretsUnavailable),
        (400, "TooManyRequestsException", SecretsUnavailable),
        (500, "InternalServiceError", SecretsUnavailable),
        (503, "ServiceUnavailable", SecretsUnavailable),
        (400, "SomethingElse", SecretRefused),
    ],
)
def test_each_error_is_told_by_its_code_alone(status: int, code: str, kind: type[PyMigrateError]) -> None:
    with saying(status, code) as address:
        backend = opened(address)
        with pytest.raises(PyMigrateError) as failed:
            backend.read(ref("prod/legacy"))
        backend.close()
    assert isinstance(failed.value, kind)
    assert code in str(failed.value)
    assert "s3cret-0f-the-backend" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_nobody_who_answers_is_unavailable_and_nothing_is_leased() -> None:
    backend = opened(NOBODY)
    with pytest.raises(SecretsUnavailable, match="does not answer"):
        backend.read(ref("x"))
    with pytest.raises(SecretMissing):
        backend.renew(Lease("x", 1.0))
    backend.revoke(Lease("x", 1.0))
    backend.close()
