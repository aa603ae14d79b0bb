"""The webhook that the API server asks before it stores a custom resource: HTTPS, bounded in bytes, time and requests at once.

Where it can't be told whether an object is right, the answer is an error, and the `failurePolicy` of the webhook's configuration decides.
"""

import asyncio
from typing import Any

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.operator.admission import Admission, Denied
from pymigrate.engine.entrypoints.rest.bodies import read_body
from pymigrate.engine.entrypoints.rest.listening import Listener
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate

log = structlog.get_logger(__name__)
PATH = "/validate"
SETTING = "PYMIGRATE_OPERATOR_ADMISSION_LISTEN"
API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
# An object has at most 1.5 MiB in etcd, and a review holds it twice.
BODY_BYTES_MAX = 8 * 1024 * 1024
# Below the ten seconds that the API server waits, so that it is told why.
ANSWER_SECONDS_MAX = 8.0
REVIEWS_MAX = 256


class AdmissionServer:
    """Serves the webhook on an address of its own. Every operator answers, whether it leads or not."""

    def __init__(
        self,
        admission: Admission,
        certificate: ServerCertificate | None,
        *,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        self._admission = admission
        self._answer_seconds_max = answer_seconds_max
        self._reviews = 0
        self._listener = Listener(self, "admission", SETTING, certificate)

    async def start(self, listen: str) -> int:
        """Binds and serves; the port that was bound. Raises PermanentError when the address is taken."""
        return await self._listener.start(listen)

    async def stop(self) -> None:
        """Lets requests under way end, and stops."""
        await self._listener.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await (await self._answer(scope, receive))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["path"] != PATH or scope["method"] != "POST":
            return PlainTextResponse(f"post an AdmissionReview to {PATH}\n", 404)
        if self._reviews >= REVIEWS_MAX:
            return _unanswered("too many reviews at once")
        self._reviews += 1
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                request = _request(await read_body(Headers(scope=scope), receive, BODY_BYTES_MAX))
                return await self._reviewed(request)
        except TimeoutError:
            return _unanswered(f"the engine did not answer within {self._answer_seconds_max:g} s")
        except Refused as error:
            return PlainTextResponse(f"{error.message}\n", error.status)
        except PyMigrateError as error:
            return _unanswered(error.message)
        finally:
            self._reviews -= 1

    async def _reviewed(self, request: dict[str, Any]) -> Response:
        decision = await self._admission.decide(request)
        answer: dict[str, Any] = {"uid": request["uid"], "allowed": not isinstance(decision, Denied)}
        if isinstance(decision, Denied):
            answer["status"] = {"code": 422, "reason": "Invalid", "message": decision.message}
        if decision.warnings:
            answer["warnings"] = list(decision.warnings)
        review = {"apiVersion": API_VERSION, "kind": KIND, "response": answer}
        return Response(orjson.dumps(review), media_type="application/json")


def _request(body: bytes) -> dict[str, Any]:
    """Raises Refused (400) for what is no review."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "NOT_JSON", f"this is not JSON: {error}") from error
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or review.get("apiVersion") != API_VERSION or not request.get("uid"):
        raise Refused(400, "NO_REVIEW", f"this is no {KIND} of {API_VERSION} with a request")
    return request


def _unanswered(why: str) -> Response:
    """In the API's own shape for errors, whose message the API server hands on to whoever asked it."""
    log.warning("admission.unanswered", error=why)
    message = f"it can't be told now whether the engine takes this: {why}"
    status = {"status": "Failure", "reason": "ServiceUnavailable", "code": 503, "message": message}
    content = orjson.dumps({"apiVersion": "v1", "kind": "Status", **status})
    return Response(content, 503, media_type="application/json")
