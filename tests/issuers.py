"""An OIDC issuer on loopback, with keys that are made for the test: what it publishes, and the tokens that it signs."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "pymigrate"
CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/keys"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """A key and the id that it is published under."""

    def __init__(self, key_id: str, algorithm: str = "RS256", key: PrivateKey | None = None) -> None:
        self.id = key_id
        self.algorithm = algorithm
        self.key = key or _made(algorithm)

    @property
    def published(self) -> dict[str, Any]:
        """As a set of keys has it."""
        told: dict[str, Any] = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        told.pop("key_ops", None)
        return told | {"kid": self.id, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        """The public half, as anybody can have it."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _made(algorithm: str) -> PrivateKey:
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP384R1() if algorithm == "ES384" else ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65_537, 2_048)


class Issuer:
    """Serves while it is entered. `documents` is what it answers by path, as data or as bytes; `asked` are the paths in order."""

    def __init__(self, *keys: SigningKey, host: str = "127.0.0.1") -> None:
        self.keys = list(keys)
        self.asked: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                found = issuer.documents.get(self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(404 if found is None else issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="issuer")
        self.documents: dict[str, object] = {}
        self.url = f"http://{host}:{self._server.server_port}"
        self.publish()

    def publish(self) -> None:
        """Publishes the keys that it has now."""
        self.documents = {
            CONFIGURATION: {"issuer": self.url, "jwks_uri": f"{self.url}{KEYS}"},
            KEYS: {"keys": [key.published for key in self.keys]},
        }

    def claims(self, now: datetime, **changed: Any) -> dict[str, Any]:
        """What a right token says; None takes a claim out."""
        moment = int(now.timestamp())
        told = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "groups": ["data"],
            "iat": moment,
            "nbf": moment,
            "exp": moment + 300,
            **changed,
        }
        return {name: value for name, value in told.items() if value is not None}

    def token(
        self,
        now: datetime,
        key: SigningKey | None = None,
        header: Mapping[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """A token that a key signs, the issuer's first one without any."""
        signing = key or self.keys[0]
        told = {"kid": signing.id, **(header or {})}
        return jwt.encode(self.claims(now, **changed), signing.key, signing.algorithm, dict(told))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, secret: bytes | None = None) -> str:
    """A token that no library would make: signed by HMAC with whatever is given, or by nothing."""
    content = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{encoded(json.dumps(header).encode())}.{encoded(content)}"
    signature = b"" if secret is None else hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{encoded(signature)}"


def signed(key: SigningKey, header: Mapping[str, Any], content: bytes) -> str:
    """Whatever header and content are, signed rightly by an RSA key."""
    assert isinstance(key.key, rsa.RSAPrivateKey)
    text = f"{encoded(json.dumps({'alg': 'RS256', 'kid': key.id, **header}).encode())}.{encoded(content)}"
    return f"{text}.{encoded(key.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def encoded(content: bytes) -> str:
    """As tokens have it."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
