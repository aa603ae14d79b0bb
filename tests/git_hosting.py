"""Hosts of repositories on loopback: the real `git http-backend` behind TLS with a login, and a real sshd. They can be away, hang, cut
answers off and say what they like, and whoever follows them is told what was pushed."""

import base64
import contextlib
import datetime as dt
import getpass
import ipaddress
import os
import shutil
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pymigrate.engine.ports.repository import HttpsLogin, Remote, SshLogin
from pymigrate.engine.ports.secrets import Secret
from tests.git_works import BRANCH, clean_environment, run_git
from tests.servers import absent

WAIT_SECONDS = 60.0
PIECE_BYTES = 65_536
AT_ONCE = struct.pack("ii", 1, 0)
VALID_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
USERNAME = "reader"
TOKEN = "token-7f3a9c51e2"
# Tells the host what was pushed, and waits until it has told its followers.
POST_RECEIVE = """#!{python} -IS
import socket, sys
told = socket.create_connection(("127.0.0.1", {port}))
told.sendall(({name!r} + "\\n" + sys.stdin.read()).encode())
told.shutdown(socket.SHUT_WR)
told.recv(1)
"""


@dataclass(frozen=True)
class Pushed:
    """A reference that a push has moved."""

    repository: str
    before: str
    after: str
    reference: str


@dataclass(frozen=True)
class Asked:
    """A request that a host was sent, before its login was looked at."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a host does instead of letting git answer: says `status`, ends the connection without a word (`is_reset`), waits first
    (`hangs_until`), lets git answer but ends after so many bytes (`cut_bytes`) or waits after its first bytes (`drips_until`)."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_reset: bool = False
    hangs_until: threading.Event | None = None
    drips_until: threading.Event | None = None
    cut_bytes: int = -1


@dataclass(frozen=True)
class Authority:
    """Certificates of a host's own: the PEM that it is trusted by, and what its server takes."""

    pem: str
    server: ssl.SSLContext


class PushTelling:
    """Listens to the hooks of repositories. `follow` says who is told of a push; whoever pushes waits for it."""

    def __init__(self) -> None:
        self._followers: list[Callable[[Pushed], None]] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, name="pushes", daemon=True)
        self._thread.start()

    def follow(self, follower: Callable[[Pushed], None]) -> None:
        """From now on it is told, on a thread of the host's."""
        self._followers.append(follower)

    def hook(self, repository: str) -> str:
        """The post-receive hook of a repository."""
        return POST_RECEIVE.format(python=sys.executable, port=self.port, name=repository)

    def close(self) -> None:
        """Listens no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            try:
                told, _ = self._listening.accept()
            except OSError:
                return
            with told:
                with told.makefile() as heard:
                    name, *lines = heard.read().splitlines()
                for before, after, reference in (line.split(" ", 2) for line in lines):
                    for follower in self._followers:
                        follower(Pushed(name, before, after, reference))
                told.sendall(b".")


class Hosting:
    """Repositories in a folder, by name. What both kinds of hosts share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.pushes = PushTelling()

    def create(self, name: str, *, object_format: str = "sha1") -> Path:
        """An empty repository, whose folder may be pushed to as well; pushes to it are told."""
        bare = self.folder / f"{name}.git"
        run_git(
            self.folder, "init", "--quiet", "--bare", f"--object-format={object_format}", f"--initial-branch={BRANCH}",
            str(bare),
        )  # fmt: skip
        run_git(bare, "config", "http.receivepack", "true")
        self.add_hook(name, "post-receive", self.pushes.hook(name))
        return bare

    def add_hook(self, name: str, hook: str, program: str) -> None:
        """Gives a repository a hook."""
        place = self.folder / f"{name}.git" / "hooks" / hook
        place.parent.mkdir(exist_ok=True)
        place.write_text(program)
        place.chmod(0o755)

    def head_of(self, name: str, branch: str = BRANCH) -> str:
        """The commit that a branch leads to; empty where there is none."""
        return run_git(
            self.folder / f"{name}.git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", is_checked=False
        )


class HttpsHost(Hosting):
    """Serves repositories over HTTPS to whoever knows `username` and `token`, which may be changed at any time; without a token to
    everybody. `answer` may say something else; `asked` has every request."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        super().__init__(folder)
        self.authority = authority
        self.username = USERNAME
        self.token = TOKEN
        self.knows_protocols = True  # and else speaks the oldest one
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer | None] = lambda _: None
        self.port = 0
        self._server: _Server | None = None
        self.bring_up()

    def url(self, name: str) -> str:
        """Where a repository is."""
        return f"https://127.0.0.1:{self.port}/{name}.git"

    def login(self) -> HttpsLogin:
        """What lets one in now."""
        return HttpsLogin(self.username, Secret(self.token), self.authority.pem)

    def remote(self, name: str, timeout_seconds: float = 60.0) -> Remote:
        """A repository, with what lets one in now."""
        return Remote(self.url(name), self.login(), timeout_seconds)

    def bring_up(self) -> None:
        """Serves, at the port from before."""
        server = _Server(self)
        self.port = server.server_port
        # The handshake is done by the thread that serves a connection: whoever breaks it off delays nobody.
        server.socket = self.authority.server.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def take_down(self) -> None:
        """Serves no more: whoever comes is refused. May be called again."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def close(self) -> None:
        """Ends it."""
        self.take_down()
        self.pushes.close()

    def lets_in(self, authorization: str) -> bool:
        """Whether a header of a request's is the login."""
        basic = base64.b64encode(f"{self.username}:{self.token}".encode()).decode()
        return not self.token or authorization == f"Basic {basic}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: HttpsHost) -> None:
        super().__init__(("127.0.0.1", host.port), _Handler)
        self.host = host

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ends early is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _serve(self, body: bytes) -> None:
        assert isinstance(self.server, _Server)
        host = self.server.host
        address = urlsplit(self.path)
        asked = Asked(
            self.command, address.path, address.query, {name.lower(): value for name, value in self.headers.items()}
        )
        host.asked.append(asked)
        answer = host.answer(asked) or Answer()
        if answer.hangs_until is not None:
            answer.hangs_until.wait(WAIT_SECONDS)
        if answer.is_reset:
            self._reset()
        elif answer.status:
            self._say(answer.status, answer.headers, answer.body)
        elif not host.lets_in(asked.headers.get("authorization", "")):
            self._say(401, {"WWW-Authenticate": 'Basic realm="repositories"'}, b"who are you?")
        else:
            status, headers, said = _from_backend(host, asked, body)
            self._say(status, headers, said, answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _say(self, status: int, headers: Mapping[str, str], body: bytes, answer: Answer | None = None) -> None:
        with contextlib.suppress(OSError):  # whoever asked has given up meanwhile
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if answer is not None and answer.cut_bytes >= 0:
                self.wfile.write(body[: answer.cut_bytes])
                self.wfile.flush()
                self._reset()
                return
            if answer is not None and answer.drips_until is not None:
                self.wfile.write(body[:4])
                self.wfile.flush()
                answer.drips_until.wait(WAIT_SECONDS)
                body = body[4:]
            self.wfile.write(body)
            self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self.connection.close()

    def log_message(self, format: str, *_: object) -> None:
        """Nothing on stderr."""


def _from_backend(host: HttpsHost, asked: Asked, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """What `git http-backend` answers, which is spoken to as RFC 3875 has it."""
    environment = {
        **clean_environment(host.folder),
        "GATEWAY_INTERFACE": "CGI/1.1",
        "GIT_PROJECT_ROOT": str(host.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": asked.method,
        "PATH_INFO": asked.path,
        "QUERY_STRING": asked.query,
        "REMOTE_USER": host.username,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": asked.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": asked.headers.get("git-protocol", "") if host.knows_protocols else "",
    }
    said = subprocess.run(
        ["git", "http-backend"], input=body, env=environment, cwd=host.folder, capture_output=True, check=False
    ).stdout
    head, _, rest = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
    return int(headers.pop("Status", "200").split()[0]), headers, rest


class SshHost(Hosting):
    """Serves repositories over SSH, as the user that runs the tests, to whoever has `private_key`. Nothing but git can be run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "repositories")
        self._folder = folder
        self._program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or absent(
            "sshd (Debian: openssh-server)"
        )
        self.private_key = make_key(folder / "user_key")
        make_key(folder / "host_key")
        self.host_key = (folder / "host_key.pub").read_text().strip()
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.bring_up()

    @property
    def known_hosts(self) -> str:
        """The line that the host is known by."""
        return f"[127.0.0.1]:{self.port} {self.host_key}\n"

    def url(self, name: str) -> str:
        """Where a repository is."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.folder}/{name}.git"

    def login(self) -> SshLogin:
        """What lets one in."""
        return SshLogin(Secret(self.private_key), self.known_hosts)

    def remote(self, name: str, timeout_seconds: float = 60.0) -> Remote:
        """A repository, with what lets one in."""
        return Remote(self.url(name), self.login(), timeout_seconds)

    def bring_up(self) -> None:
        """Serves, at the port from before."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root wants it to be there
        if not self.port:
            with socket.socket() as held:
                held.bind(("127.0.0.1", 0))
                self.port = int(held.getsockname()[1])
        configuration = self._folder / "sshd_config"
        configuration.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self._folder}/host_key\n"
            f"AuthorizedKeysFile {self._folder}/authorized_keys\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nDisableForwarding yes\n"
            f'ForceCommand {shutil.which("git")} shell -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        with (self._folder / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-D", "-e", "-f", str(configuration)], stdout=subprocess.DEVNULL, stderr=log
            )
        for _ in range(int(WAIT_SECONDS / 0.02)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, (self._folder / "sshd.log").read_text()
            threading.Event().wait(0.02)
        raise AssertionError("sshd does not answer")

    def take_down(self) -> None:
        """Serves no more. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(WAIT_SECONDS)

    def close(self) -> None:
        """Ends it."""
        self.take_down()
        self.pushes.close()


def make_key(place: Path) -> str:
    """A key pair in OpenSSH's form, `.pub` beside it; the private one."""
    if shutil.which("ssh-keygen") is None:
        absent("ssh-keygen (Debian: openssh-client)")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(place)], check=True)
    assert not stat.S_IMODE(place.stat().st_mode) & 0o077
    return place.read_text()


def make_authority(folder: Path, names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Authority:
    """An authority, and a certificate of it for a host with these names."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, server_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Authority of tests", "Host of tests")
    )
    validity = (
        x509.CertificateBuilder().issuer_name(authority_name).not_valid_before(VALID_FROM).not_valid_after(VALID_UNTIL)
    )
    authority = (
        validity.subject_name(authority_name)
        .public_key(authority_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        validity.subject_name(server_name)
        .public_key(server_key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return Authority(authority.public_bytes(serialization.Encoding.PEM).decode(), context)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="session")
def git_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all hosts of a process."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def https_host(tmp_path: Path, git_authority: Authority) -> Iterator[HttpsHost]:
    """A host over HTTPS, without any repository."""
    host = HttpsHost(tmp_path / "https_host", git_authority)
    yield host
    host.close()


@pytest.fixture
def ssh_host(tmp_path: Path) -> Iterator[SshHost]:
    """A host over SSH, without any repository."""
    folder = tmp_path / "ssh_host"
    folder.mkdir()
    host = SshHost(folder)
    yield host
    host.close()
