"""What the API answers where it does not do what was asked, in our words."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    ClusterBusy,
    ClusterForbidden,
    ClusterUnauthenticated,
    ClusterUnavailable,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    ObjectRefused,
    WatchExpired,
)

RETRY_SECONDS_MAX = 60.0
SAID_CHARACTERS_MAX = 1_000
REFUSED = frozenset({400, 405, 406, 413, 415, 422})
TOO_NEW = "ResourceVersionTooLarge"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status of HTTP, or that of an error within a watch. `asked` is the method and what it was about."""

    asked: str
    code: int
    body: Mapping[str, Any] | bytes
    retry_after: str = ""
    is_create: bool = False


def error_of(answer: Answer) -> PyMigrateError:
    """The error that an answer other than 2xx means."""
    status = _status(answer.body)
    reason, said = str(status.get("reason") or ""), _said(answer, status)
    match answer.code:
        case HTTPStatus.UNAUTHORIZED:
            return ClusterUnauthenticated(f"{said}: look after the token or the certificate that it is asked with")
        case HTTPStatus.FORBIDDEN:
            return ClusterForbidden(said, is_quota="exceeded quota" in said)
        case HTTPStatus.NOT_FOUND:
            return ObjectMissing(said, is_type_missing=not _names_object(reason, status))
        case HTTPStatus.CONFLICT if reason == "AlreadyExists":
            return ObjectExists(said)
        case HTTPStatus.CONFLICT if answer.is_create:
            # Whoever creates has read nothing that could be stale: it is a quota, which several write at once.
            return ClusterBusy(said)
        case HTTPStatus.CONFLICT:
            return ObjectConflict(said)
        case HTTPStatus.GONE:
            return WatchExpired(said)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return ClusterBusy(said, retry_after_seconds=_patience(answer.retry_after, status))
        case HTTPStatus.SERVICE_UNAVAILABLE if answer.retry_after:
            return ClusterBusy(said, retry_after_seconds=_patience(answer.retry_after, status))
        case code if code in REFUSED:
            return ObjectRefused(said)
    if any(cause.get("reason") == TOO_NEW for cause in _causes(status)):
        return WatchExpired(said)  # the cluster's data were set back
    return ClusterUnavailable(said, retry_after_seconds=_patience(answer.retry_after, status))


def _status(body: Mapping[str, Any] | bytes) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _said(answer: Answer, status: Mapping[str, Any]) -> str:
    message = status.get("message")
    if not isinstance(message, str) or not message:
        message = answer.body.decode("utf-8", "replace").strip() if isinstance(answer.body, bytes) else ""
    told = message[:SAID_CHARACTERS_MAX] or "nothing further"
    return f"{answer.asked}: the API said {answer.code}: {told}"


def _details(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = status.get("details")
    return found if isinstance(found, Mapping) else {}


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _details(status).get("causes")
    return [cause for cause in found if isinstance(cause, Mapping)] if isinstance(found, list) else []


def _names_object(reason: str, status: Mapping[str, Any]) -> bool:
    return reason == "NotFound" and bool(_details(status).get("name"))


def _patience(header: str, status: Mapping[str, Any]) -> float:
    said = header.strip() or str(_details(status).get("retryAfterSeconds") or "")
    return min(float(said), RETRY_SECONDS_MAX) if said.isdecimal() and said.isascii() and said != "0" else 1.0
