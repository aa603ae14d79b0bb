"""AWS Secrets Manager as tests have it: moto's server, a process on loopback, and for what moto never says a server that says it."""

import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pymigrate.engine.adapters.secrets.aws import AwsKind
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.secret_backend import BackendOptions, SecretBackend
from pymigrate.engine.ports.secrets import SecretRef, parse_secret_ref
from pymigrate.engine.testing.secrets import MemorySecrets

REGION = "eu-central-1"
START_SECONDS_MAX = 60.0
STS_VARIABLE = "AWS_ENDPOINT_URL_STS"
KEYS = {"AWS_KEY_ID": "test-key-id", "AWS_SECRET_KEY": "test-secret-key"}
REFERENCES = {"access_key_id": "env://AWS_KEY_ID", "secret_access_key": "env://AWS_SECRET_KEY"}
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>key</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>{ends}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
NOBODY = "http://127.0.0.1:9"  # where nothing listens


@contextmanager
def moto_server() -> Iterator[str]:
    """Its address, while it runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(int(START_SECONDS_MAX * 20)):
        try:
            with urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "moto's server ended"
            threading.Event().wait(0.05)
    raise AssertionError("moto's server does not answer")


@contextmanager
def saying(status: int, code: str, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of what answers everything with one error of AWS, and says a secret aloud."""
    body = json.dumps({"__type": code, "message": "s3cret-0f-the-backend"})
    with answering(lambda _, __: (status, body), headers) as address:
        yield address


@contextmanager
def answering(answer: Callable[[str, str], tuple[int, str]], headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of what answers with a status and a body, to the body that is asked with and the header that signs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            status, text = answer(asked, self.headers.get("Authorization", ""))
            body = text.encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RoleSessions:
    """AWS as who takes a role on sees it, since moto's sessions never end: each is refused from its end by the clock on, and until then it
    reads its own key's id as the value of any secret."""

    def __init__(self, clock: BlockingClock, session: timedelta) -> None:
        self._clock = clock
        self._session = session
        self._ends: list[datetime] = []

    def answer(self, asked: str, authorization: str) -> tuple[int, str]:
        """A status and a body, to a body and to whom it is signed by."""
        if "Action=AssumeRole" in asked:
            self._ends.append(self._clock.now() + self._session)
            return 200, ASSUMED.format(key_id=f"session-{len(self._ends)}", ends=f"{self._ends[-1]:%Y-%m-%dT%H:%M:%SZ}")
        key_id = authorization.partition("Credential=")[2].partition("/")[0]
        if self._clock.now() >= self._ends[int(key_id.removeprefix("session-")) - 1]:
            return 400, json.dumps({"__type": "ExpiredTokenException"})
        return 200, json.dumps({"VersionId": "v" * 32, "SecretString": key_id})

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address."""
        with answering(self.answer) as address:
            yield address


def aws_options(endpoint: str, secrets: MemorySecrets | None = None, **options: str) -> BackendOptions:
    """What a backend is told."""
    references = {name: parse_secret_ref(text, name) for name, text in REFERENCES.items()}
    said = {"region": REGION, "endpoint_url": endpoint, **options}
    return BackendOptions("aws-sm", said, references, secrets or MemorySecrets(KEYS), timeout_seconds=5.0)


def aws_client(endpoint: str, service: str = "secretsmanager") -> object:
    """A client of boto3's, as whoever keeps the secrets has it."""
    import boto3

    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=KEYS["AWS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_KEY"],
    )


class AwsPlace:
    """Secrets of AWS as the contract suite sees them."""

    def __init__(self, address: str, prefix: str) -> None:
        self._address = address
        self._prefix = prefix
        self._faults: list[object] = []
        self._client: object = aws_client(address)
        self._kind = AwsKind()
        self.opened: list[SecretBackend] = []

    def open(self) -> SecretBackend:
        backend = self._kind.open(aws_options(self._address))
        self.opened.append(backend)
        return backend

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("aws-sm", f"{self._prefix}/{name}", key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        text, client = values[""] if "" in values else json.dumps(dict(values)), self._client
        name = f"{self._prefix}/{name}"
        try:
            found = client.put_secret_value(SecretId=name, SecretString=text)  # type: ignore[attr-defined]  # boto3
        except client.exceptions.ResourceNotFoundException:  # type: ignore[attr-defined]  # boto3
            found = client.create_secret(Name=name, SecretString=text)  # type: ignore[attr-defined]  # boto3
        return str(found["VersionId"])

    def happen(self, what: str, name: str) -> None:
        if what == "away":
            self._address = NOBODY
            return
        code = {"refuses": "AccessDeniedException", "throttles": "ThrottlingException"}[what]
        fault = saying(400, code)
        self._faults.append(fault)
        self._address = fault.__enter__()

    def close(self) -> None:
        """Ends what was begun."""
        for backend in self.opened:
            backend.close()
        for fault in self._faults:
            fault.__exit__(None, None, None)  # type: ignore[attr-defined]  # a context


@contextmanager
def aws_place(address: str, prefix: str) -> Iterator[AwsPlace]:
    """A place of its own in moto's server."""
    place = AwsPlace(address, prefix)
    try:
        yield place
    finally:
        place.close()
