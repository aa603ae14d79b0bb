"""Secrets in AWS Secrets Manager: `aws-sm://name#key`, where a name may be an ARN. Versions are AWS's ids and stages, such as `AWSPENDING`.

boto3 is imported by what opens one. Its own retries are off: whoever reads asks again with patience. What AWS answers is never repeated
beyond its error's code, and a secret that is bytes is refused, since everything that reads secrets here takes texts.
"""

import logging
import re
import threading
from datetime import datetime, timedelta
from typing import Any

from pymigrate.engine.adapters.secrets.json_values import values_of
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import PREVIOUS, BackendOptions, Lease, SecretDocument
from pymigrate.engine.ports.secrets import SecretRef

SESSION_NAME = "pymigrate"
SPARE = timedelta(minutes=5)  # before its end, another session of the role is asked for
CONNECTIONS_MAX = 32
VERSION_ID = re.compile(r"[A-Za-z0-9-]{32,64}")
MISSING = frozenset(
    {"ResourceNotFoundException", "InvalidParameterException", "ValidationException", "InvalidRequestException"}
)
STALE = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})
REFUSED = STALE | {
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "IncompleteSignature",
    "InvalidSignatureException",
    "NotAuthorized",
    "SignatureDoesNotMatch",
}
THROTTLED_SECONDS = 1.0


class AwsBackend:
    """One region, as one principal. `options` are the fields of the contract's message."""

    def __init__(self, options: BackendOptions, clock: BlockingClock) -> None:
        self._options = options
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._ends: datetime | None = None

    def login(self) -> str:
        """Takes on the role where there is one; AWS itself knows no login."""
        self._present(f"{self._options.scheme}://", None)
        return f"AWS Secrets Manager, {self._said('region')}"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """The secret's text, and where it is a JSON object its keys."""
        asked: dict[str, str] = {"SecretId": ref.location}
        if version == PREVIOUS:
            asked["VersionStage"] = "AWSPREVIOUS"
        elif version:
            asked["VersionId" if VERSION_ID.fullmatch(version) else "VersionStage"] = version
        client = self._present(str(ref), None)
        try:
            return self._read(ref, client, asked)
        except _Stale:
            # The keys, or the session, have been replaced: what leads to them is read once more.
            try:
                return self._read(ref, self._present(str(ref), client), asked)
            except _Stale as error:
                raise SecretRefused(error.message) from None

    def renew(self, lease: Lease) -> Lease:
        """Nothing is leased."""
        raise SecretMissing("secrets of AWS are not leased")

    def revoke(self, lease: Lease) -> None:
        """Nothing is leased."""

    def close(self) -> None:
        """Gives up connections and credentials."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _read(self, ref: SecretRef, client: Any, asked: dict[str, str]) -> SecretDocument:
        try:
            found = client.get_secret_value(**asked)
        except Exception as error:  # noqa: BLE001 (translated, or raised as it is)
            raise _translated(str(ref), error) from None
        if "SecretString" not in found:
            raise SecretMissing(f"{ref}: holds bytes: keep it as text, in Base64 where it must be")
        version = str(found["VersionId"])
        return SecretDocument(values_of(found["SecretString"], version), version)

    def _present(self, asked: str, former: Any) -> Any:
        """The client; another one where `former` is it still, or its session ends soon."""
        with self._lock:
            is_ending = self._ends is not None and self._clock.now() >= self._ends - SPARE
            if self._client is None or self._client is former or is_ending:
                self._client, self._ends = self._opened(asked)
            return self._client

    def _opened(self, asked: str) -> tuple[Any, datetime | None]:
        import boto3
        from botocore.config import Config

        for name in ("botocore", "boto3"):
            logging.getLogger(name).setLevel(logging.WARNING)  # below that they tell whole answers
        seconds = self._options.timeout_seconds
        config = Config(
            connect_timeout=seconds,
            read_timeout=seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=CONNECTIONS_MAX,
            user_agent_extra="pymigrate",
        )
        keys = {f"aws_{name}": self._secret(name) for name in ("access_key_id", "secret_access_key", "session_token")}
        try:
            session = boto3.session.Session(region_name=self._said("region"), **keys)
            ends = None
            if role := self._said("role_arn"):
                external = {"ExternalId": self._said("external_id")} if self._said("external_id") else {}
                sts = session.client("sts", config=config)
                try:
                    found = sts.assume_role(RoleArn=role, RoleSessionName=SESSION_NAME, **external)["Credentials"]
                finally:
                    sts.close()
                ends = found["Expiration"]
                session = boto3.session.Session(
                    region_name=self._said("region"),
                    aws_access_key_id=found["AccessKeyId"],
                    aws_secret_access_key=found["SecretAccessKey"],
                    aws_session_token=found["SessionToken"],
                )
            elif session.get_credentials() is None:
                raise SecretRefused(
                    f"{asked}: there are no credentials for AWS where it is read: name them, or give them there"
                )
            endpoint = self._said("endpoint_url") or None
            return session.client("secretsmanager", endpoint_url=endpoint, config=config), ends
        except PyMigrateError:
            raise
        except Exception as error:  # noqa: BLE001 (translated, or raised as it is)
            failed = _translated(asked, error)
            raise SecretRefused(failed.message) if isinstance(failed, _Stale) else failed from None

    def _said(self, name: str) -> str:
        return self._options.options.get(name, "")

    def _secret(self, name: str) -> str | None:
        reference = self._options.references.get(name)
        return None if reference is None else self._options.secrets.read(reference).reveal()


class _Stale(SecretRefused):
    """The credentials are not known to AWS any more."""


class AwsKind:
    """Opens AWS Secrets Manager."""

    kind = "aws"

    def open(self, options: BackendOptions) -> AwsBackend:
        """Nothing is contacted."""
        from pymigrate.engine.adapters.clock import ThreadClock

        return AwsBackend(options, ThreadClock())


def _translated(asked: str, error: Exception) -> Exception:
    """What boto3 raised, in the engine's words; what is none of its errors as it is."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"{asked}: AWS said {code if re.fullmatch(r'[A-Za-z.]{1,80}', code) else 'no'} ({status})"
        if code in MISSING:
            return SecretMissing(f"{said}: there is no such secret or version in the region, or it is to be deleted")
        if code in STALE:
            return _Stale(said)
        if code in REFUSED or status in (401, 403):
            return SecretRefused(
                f"{said}: allow secretsmanager:GetSecretValue, and kms:Decrypt where a key of one's own is used"
            )
        is_away = (
            status >= 500
            or status == 429
            or "Throttl" in code
            or code in ("TooManyRequestsException", "RequestLimitExceeded")
        )
        unavailable = SecretsUnavailable(said, retry_after_seconds=THROTTLED_SECONDS)
        return unavailable if is_away else SecretRefused(said)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return SecretRefused(f"{asked}: there are no whole credentials for AWS where it is read")
    if isinstance(error, HTTPClientError | BotoCoreError):
        return SecretsUnavailable(f"{asked}: AWS does not answer ({type(error).__name__})")
    return error
