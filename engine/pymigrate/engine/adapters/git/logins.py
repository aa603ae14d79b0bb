"""Where a repository is and how one logs in, as git is told it: keys and tokens lie in files of 0600 as long as a command runs, and in no
argument, environment, configuration or URL."""

import asyncio
import contextlib
import hashlib
import os
import shlex
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.domain.git_names import scheme_of, url_problem
from pymigrate.engine.ports.repository import HttpsLogin, Remote, SshLogin

CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
USERNAME = "git"
FOLDER_PREFIX = "login-"
CERTIFICATES_PREFIX = "certificates-"
# Answers git's question for a login, and only that: it is asked to keep and to forget logins too.
HELPER = '!f() {{ test "$1" != get || cat {file}; }}; f'
# The exchange of keys that OpenSSH prefers since 9.0 takes six times the processor time of a whole fetch; what is fetched holds no secret
# that would have to outlast today's.
SSH = (
    "ssh -F /dev/null -T -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no"
    " -o CheckHostIP=no -o IdentitiesOnly=yes -o IdentityAgent=none -o AddKeysToAgent=no -o PreferredAuthentications=publickey"
    " -o ClearAllForwardings=yes -o ForwardAgent=no -o ForwardX11=no -o PermitLocalCommand=no -o ControlMaster=no"
    " -o ControlPath=none -o ConnectTimeout=15 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o LogLevel=ERROR"
    " -o KexAlgorithms=^curve25519-sha256"
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a command is given to reach a repository."""

    url: str
    settings: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Logins:
    """Writes logins down for commands, in a folder that nobody else may read. What an engine that was killed left there is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificate_files: dict[tuple[str, str], Path] = {}

    def sweep(self) -> None:
        """Removes the logins of processes that are no more, and certificates that are written again where they are needed."""
        for left in self._folder.glob(f"{FOLDER_PREFIX}*"):
            pid = left.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
            if not pid.isdigit() or int(pid) == os.getpid() or not _is_running(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
        for left in self._folder.glob(f"{CERTIFICATES_PREFIX}*"):
            left.unlink(missing_ok=True)

    @asynccontextmanager
    async def access(self, remote: Remote) -> AsyncIterator[Access]:
        """Access to a repository for one command. Raises RepositoryRefused with URL_REFUSED."""
        if problem := url_problem(remote.url):
            raise RepositoryRefused("URL_REFUSED", f"the url {problem}")
        scheme = scheme_of(remote.url)
        with self._own_folder() as folder:
            match remote.login:
                case SshLogin() as login if scheme == "ssh":
                    yield await asyncio.to_thread(_ssh_access, remote.url, login, folder)
                case HttpsLogin() as login if scheme != "ssh":
                    yield await asyncio.to_thread(self._https_access, remote.url, login, scheme, folder)
                case HttpsLogin(token=None) if scheme == "ssh":
                    raise RepositoryRefused(
                        "CREDENTIALS_REFUSED", f"{remote.url} is reached over SSH: declare the login `ssh`"
                    )
                case _:
                    raise RepositoryRefused("URL_REFUSED", f"{remote.url} is not reached by this kind of login")

    def _https_access(self, url: str, login: HttpsLogin, scheme: str, folder: Path) -> Access:
        # Without a folder that holds none, curl reads every certificate of the system's a second time, one file after another.
        settings = [f"http.sslCAInfo={self._certificates(login.ca_certificates)}", f"http.sslCAPath={folder}"]
        if login.token is not None:
            username = login.username or USERNAME
            secret = login.token.reveal()
            if any(sign in text for text in (username, secret) for sign in "\n\0"):
                raise RepositoryRefused("CREDENTIALS_REFUSED", "a user or token has line ends in it: it is none")
            place = _write(folder / "login", f"username={username}\npassword={secret}\n")
            helper = HELPER.format(file=shlex.quote(str(place)))
            settings.append(f"credential.{scheme}://{urlsplit(url).netloc}.helper={helper}")
        return Access(url, tuple(settings), {"GIT_ALLOW_PROTOCOL": scheme})

    def _certificates(self, own: str) -> Path:
        """The file with the well-known authorities, and these besides."""
        known = next((each for each in known_authorities() if each and Path(each).is_file()), certifi.where())
        if not own.strip():
            return Path(known)
        written = self._certificate_files.get((str(known), own))
        if written is not None and written.exists():
            return written
        try:
            ssl.create_default_context(cadata=own)
        except ssl.SSLError as error:
            raise RepositoryRefused(
                "CERTIFICATE_REFUSED",
                "`caCertificates` are no certificates in PEM: give them as `BEGIN CERTIFICATE` blocks",
            ) from error
        content = f"{Path(known).read_text()}\n{own}\n"
        place = self._folder / f"{CERTIFICATES_PREFIX}{hashlib.sha256(content.encode()).hexdigest()[:32]}.pem"
        if not place.exists():
            with self._own_folder() as folder:  # several sources may write the same at once
                _write(folder / place.name, content).replace(place)
        self._certificate_files[str(known), own] = place
        return place

    @contextlib.contextmanager
    def _own_folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(
            prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=self._folder, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)


def known_authorities() -> Iterator[str]:
    """Where the certificates of the well-known authorities may be, with those that the machine's administrator added: as OpenSSL is told or
    knows, and where distributions have them."""
    yield ssl.get_default_verify_paths().cafile or ""
    yield from CERTIFICATES


def _ssh_access(url: str, login: SshLogin, folder: Path) -> Access:
    if shutil.which("ssh") is None:
        raise RepositoryRefused("SSH_MISSING", "ssh is not installed here: install OpenSSH's client")
    if not login.known_hosts.strip():
        raise RepositoryRefused(
            "HOST_KEY_REFUSED",
            "no key of the host is known: declare `knownHosts`, as `ssh-keyscan` tells it and the host shows it",
        )
    key = _write(folder / "key", login.private_key.reveal().replace("\r\n", "\n").strip() + "\n")
    known = _write(folder / "known_hosts", login.known_hosts.replace("\r\n", "\n").strip() + "\n")
    command = f"{SSH} -i {shlex.quote(str(key))} -o {shlex.quote(f'UserKnownHostsFile={_for_ssh(known)}')}"
    return Access(url, (), {"GIT_ALLOW_PROTOCOL": "ssh", "GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"})


def _for_ssh(place: Path) -> str:
    """A path in an option of ssh's, where `%` begins a token and spaces part files."""
    return '"' + str(place).replace("%", "%%") + '"'


def _write(place: Path, content: str) -> Path:
    """A file that nobody else may read, from its first byte on."""
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as written:
        written.write(content)
    return place


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
