"""What an answer of the API means, where it is not what was asked for."""

import orjson
import pytest

from pymigrate.engine.adapters.kubernetes.answers import SAID_CHARACTERS_MAX, Answer, error_of
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    ClusterBusy,
    ClusterForbidden,
    ClusterUnavailable,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    ObjectRefused,
    WatchExpired,
)


def told(code: int, reason: str = "", retry_after: str = "", **details: object) -> PyMigrateError:
    status = {"kind": "Status", "message": "said", "reason": reason, "details": details}
    return error_of(Answer("PUT /x", code, orjson.dumps(status), retry_after))


@pytest.mark.parametrize("code", [400, 405, 406, 413, 415, 422])
def test_what_the_api_does_not_take_is_refused_for_good(code: int) -> None:
    error = told(code)
    assert type(error) is ObjectRefused
    assert error.message == f"PUT /x: the API said {code}: said"


@pytest.mark.parametrize("code", [304, 408, 500, 501, 502, 503, 504, 507])
def test_a_fault_of_the_api_s_own_passes(code: int) -> None:
    assert type(told(code)) is ClusterUnavailable


def test_a_name_that_is_taken_is_not_a_conflict() -> None:
    assert type(told(409, "AlreadyExists")) is ObjectExists
    assert type(told(409, "Conflict")) is ObjectConflict


def test_a_conflict_of_what_is_made_is_one_of_others_and_passes() -> None:
    status = {"kind": "Status", "message": "resourcequotas: modified", "reason": "Conflict"}
    assert type(error_of(Answer("POST /x", 409, status, is_create=True))) is ClusterBusy
    taken = status | {"reason": "AlreadyExists"}
    assert type(error_of(Answer("POST /x", 409, taken, is_create=True))) is ObjectExists


def test_what_is_gone_is_a_version_that_has_expired() -> None:
    assert type(told(410, "Expired")) is WatchExpired


def test_a_version_from_the_future_is_one_to_list_anew_from() -> None:
    assert type(told(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}])) is WatchExpired
    assert type(told(504, "Timeout", causes=[{"reason": "Other"}, "odd"])) is ClusterUnavailable


def test_what_is_missing_has_a_name_or_its_type_is_not_known() -> None:
    missing, unknown, elsewhere = told(404, "NotFound", name="one"), told(404, "NotFound"), told(404, "", name="one")
    assert isinstance(missing, ObjectMissing)
    assert isinstance(unknown, ObjectMissing)
    assert isinstance(elsewhere, ObjectMissing)
    assert (missing.is_type_missing, unknown.is_type_missing, elsewhere.is_type_missing) == (False, True, True)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        ("5", {}, 5.0),
        ("", {"retryAfterSeconds": 4}, 4.0),
        ("5", {"retryAfterSeconds": 4}, 5.0),
        ("", {}, 1.0),
        ("0", {}, 1.0),
        ("-1", {}, 1.0),
        ("1e3", {}, 1.0),
        ("٣", {}, 1.0),
        ("soon", {}, 1.0),
        ("999", {}, 60.0),
    ],
)
def test_patience_is_what_was_asked_for_within_reason(header: str, details: dict[str, object], seconds: float) -> None:
    error = told(429, "TooManyRequests", header, **details)
    assert isinstance(error, ClusterBusy)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"null", b"[]", b'{"kind":"Status"}', b'{"kind":"Status","message":7,"details":[],"reason":{}}'],
)
def test_whatever_stands_in_a_body_is_an_error_all_the_same(body: bytes) -> None:
    for code in (403, 404, 409, 410, 429, 500):
        assert f"the API said {code}: " in error_of(Answer("PUT /x", code, body)).message


def test_what_was_said_is_told_in_bounds() -> None:
    assert len(error_of(Answer("PUT /x", 500, b"x" * 1_000_000)).message) < SAID_CHARACTERS_MAX + 100


def test_a_quota_is_told_from_a_role() -> None:
    quota = error_of(Answer("x", 403, {"message": 'pods "a" is forbidden: exceeded quota: few, requested: pods=1'}))
    role = error_of(Answer("x", 403, {"message": 'pods is forbidden: User "x" cannot create resource "pods"'}))
    assert isinstance(quota, ClusterForbidden)
    assert isinstance(role, ClusterForbidden)
    assert (quota.is_quota, role.is_quota) == (True, False)
