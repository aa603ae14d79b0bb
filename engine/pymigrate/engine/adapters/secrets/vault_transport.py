"""Requests to a Vault, as hvac makes them, over one pool of connections: what is answered is bounded, and else it is an error.

Redirects are followed by hand, since a token goes with them: a standby node that forwards nothing sends its callers to the active one.
No proxy, no `.netrc` and no variable of the surroundings changes where a token goes.
"""

import json
import ssl
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import certifi
import urllib3
from hvac.adapters import Adapter

from pymigrate.engine.adapters.secrets.vault import VaultPlace
from pymigrate.engine.domain.addresses import is_loopback
from pymigrate.engine.domain.errors import SecretsUnavailable
from pymigrate.engine.ports.clock import BlockingClock

if TYPE_CHECKING:
    _Adapter = Adapter[dict[str, Any]]
else:
    _Adapter = Adapter  # generic for who checks types alone

POOLS_MAX = 4  # hosts: a Vault's nodes
CONNECTIONS_MAX = 16
ANSWER_BYTES_MAX = 4 << 20
PIECE_BYTES = 64 << 10
REDIRECTS_MAX = 2
BEHIND_TRIES_MAX = 4
BEHIND_SECONDS = 0.1
REDIRECTED = frozenset({301, 302, 303, 307, 308})
KEEPING_THE_METHOD = frozenset({307, 308})
BEHIND = 412  # a node that has not yet heard of what the caller knows
INDEX = "X-Vault-Index"
HIDDEN_FIELDS = ("secret_id", "jwt", "token")
HIDDEN_CHARACTERS_MIN = 4
NOT_SHOWN = "its words repeat a secret, and are not shown"
OUTSIDE_NAMESPACES = ("/v1/sys/health",)


class VaultRefusal(Exception):
    """Vault's answer where it is not what was asked for. `errors` are Vault's own words, `document` the JSON object that came with them."""

    def __init__(
        self, status: int, errors: tuple[str, ...], document: Mapping[str, Any], retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(f"Vault answered {status}")
        self.status = status
        self.errors = errors
        self.document = document
        self.retry_after_seconds = retry_after_seconds


class VaultPool:
    """The connections to a Vault, for every thread and every login, and the newest state that a write of ours is known to have left."""

    def __init__(self, place: VaultPlace, clock: BlockingClock) -> None:
        self.place = place
        self.clock = clock
        self.index = ""
        self._lock = threading.Lock()
        self._connections: urllib3.PoolManager | None = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """An answer whose body is still to be read. Raises what urllib3 raises."""
        with self._lock:
            if self._connections is None:
                self._connections = urllib3.PoolManager(
                    num_pools=POOLS_MAX, maxsize=CONNECTIONS_MAX, ssl_context=self._trust()
                )
            connections = self._connections
        return connections.request(
            method,
            url,
            body=body,
            headers=dict(headers),
            timeout=urllib3.Timeout(connect=self.place.timeout_seconds, read=self.place.timeout_seconds),
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def saw(self, headers: Mapping[str, str]) -> None:
        """Remembers the state that an answer tells of."""
        index = headers.get(INDEX)
        if index:
            with self._lock:
                self.index = index

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            if self._connections is not None:
                self._connections.clear()

    def _trust(self) -> ssl.SSLContext | None:
        """The authorities whose certificates are trusted."""
        if self.place.address.startswith("http:"):
            return None
        try:
            return ssl.create_default_context(cafile=self.place.ca_file or certifi.where())
        except (OSError, ssl.SSLError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise SecretsUnavailable(
                f"{self.place.address}: the certificates in {self.place.ca_file} can't be read: {why}"
            ) from None


class VaultTransport(_Adapter):
    """What hvac's calls go through, with one token that never changes: whoever logs in anew makes another."""

    def __init__(self, pool: VaultPool, token: str = "") -> None:
        super().__init__(
            base_uri=pool.place.address,
            token=token,
            allow_redirects=False,
            namespace=pool.place.namespace,
        )
        self._pool = pool

    def get_login_token(self, response: dict[str, Any]) -> str:
        """As hvac asks for it."""
        return str(response["auth"]["client_token"])

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The JSON object of the answer, empty where there is none. Raises VaultRefusal and SecretsUnavailable."""
        sent = {"Accept-Encoding": "identity", "X-Vault-Request": "true", **(headers or {})}
        if self.token:
            sent["X-Vault-Token"] = self.token
        if self.namespace and not url.startswith(OUTSIDE_NAMESPACES):
            sent["X-Vault-Namespace"] = self.namespace
        whole = self.urljoin(self.base_uri, url)
        if kwargs.get("params"):
            whole = f"{whole}?{urlencode(kwargs['params'])}"
        given = kwargs.get("json")
        body = json.dumps(given).encode() if given else None
        if body is not None:
            sent["Content-Type"] = "application/json"
        for tries in range(1, BEHIND_TRIES_MAX + 1):
            if self._pool.index:
                sent[INDEX] = self._pool.index
            try:
                return self._redirected(method, whole, sent, body)
            except VaultRefusal as refusal:
                refusal.errors = _without(refusal.errors, [self.token, *_hidden(given)])
                if refusal.status != BEHIND or tries == BEHIND_TRIES_MAX:
                    raise
            self._pool.clock.wait(BEHIND_SECONDS * 2 ** (tries - 1))
            if tries == BEHIND_TRIES_MAX - 1:
                sent["X-Vault-Inconsistent"] = "forward-active-node"
        raise AssertionError("the last try returns or raises")

    def _redirected(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> dict[str, Any]:
        for _ in range(REDIRECTS_MAX + 1):
            status, answered, document = self._asked(method, url, headers, body)
            if status not in REDIRECTED:
                return _answer(status, answered, document)
            target = _followed(url, answered.get("Location", "")) if status in KEEPING_THE_METHOD else ""
            if not target:
                said = "redirects to another scheme, path or machine, which is not followed: declare the active node's address"
                raise VaultRefusal(status, (said,), {})
            url = target
        raise VaultRefusal(307, (f"redirects more than {REDIRECTS_MAX} times",), {})

    def _asked(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], object]:
        """Status, headers and JSON of what was answered. No cause is kept: it might hold the request, and with it the token."""
        address, seconds = self._pool.place.address, self._pool.place.timeout_seconds
        ends = self._pool.clock.monotonic() + seconds
        try:
            response = self._pool.request(method, url, headers, body)
            self._pool.saw(response.headers)
            try:
                content = self._read(response, ends)
            except BaseException:
                response.close()
                raise
            response.release_conn()
            return response.status, response.headers, _json(content)
        except urllib3.exceptions.SSLError:
            raise SecretsUnavailable(
                f"{address}: its certificate is not trusted: name the authority that signed it in ca_file"
            ) from None
        except urllib3.exceptions.TimeoutError as error:
            if isinstance(error, urllib3.exceptions.NewConnectionError):
                raise SecretsUnavailable(f"{address} can't be reached: {_why(error)}") from None
            raise SecretsUnavailable(f"{address} does not answer within {seconds:g} s") from None
        except urllib3.exceptions.HTTPError as error:
            raise SecretsUnavailable(f"{address} can't be reached: {_why(error)}") from None

    def _read(self, response: urllib3.BaseHTTPResponse, ends: float) -> bytes:
        """The body, piece by piece, so that one that drips in ends with the time that it has."""
        content = bytearray()
        while piece := response.read1(PIECE_BYTES):
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise SecretsUnavailable(
                    f"{self._pool.place.address} answered with more than {ANSWER_BYTES_MAX:,} bytes"
                )
            if self._pool.clock.monotonic() > ends:
                raise SecretsUnavailable(
                    f"{self._pool.place.address} does not answer within {self._pool.place.timeout_seconds:g} s"
                )
        return bytes(content)


def _answer(status: int, headers: Mapping[str, str], document: object) -> dict[str, Any]:
    if status < 300 and isinstance(document, dict):
        return document
    if status < 300:
        raise VaultRefusal(502, ("the answer is no JSON: is this a Vault, or a proxy in front of it?",), {})
    found = document if isinstance(document, dict) else {}
    errors = found.get("errors")
    patience = headers.get("Retry-After", "")
    raise VaultRefusal(
        status,
        tuple(each for each in errors if isinstance(each, str)) if isinstance(errors, list) else (),
        found,
        float(patience) if patience.isdecimal() else 0.0,
    )


def _hidden(body: object) -> list[object]:
    """What of a request's body is secret."""
    return [body.get(name) for name in HIDDEN_FIELDS] if isinstance(body, dict) else []


def _without(errors: tuple[str, ...], sent: Iterable[object]) -> tuple[str, ...]:
    """Vault's words, but for those that repeat a secret that it was sent."""
    values = [value for value in sent if isinstance(value, str) and len(value) >= HIDDEN_CHARACTERS_MIN]
    return tuple(NOT_SHOWN if any(value in each for value in values) else each for each in errors)


def _json(content: bytes) -> object:
    if not content:
        return {}
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _followed(url: str, location: str) -> str:
    """Where a redirect leads, if a token may go along: to the same path, in TLS as before, or on this machine still. Empty: it may not."""
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        host, _ = new.hostname or "", new.port
    except ValueError:
        return ""
    is_same = (new.scheme, new.path, new.query) == (old.scheme, old.path, old.query) and "@" not in new.netloc
    return target if is_same and (new.scheme == "https" or is_loopback(host)) else ""


def _why(error: BaseException) -> str:
    """What happened to the connection, in the system's words where it has some."""
    found: BaseException | None = error
    for _ in range(10):
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        if found is None:
            break
        inner = getattr(found, "reason", None)
        nested = next((each for each in found.args if isinstance(each, BaseException)), None)
        found = inner if isinstance(inner, BaseException) else nested or found.__context__
    return "the connection ended without an answer"
