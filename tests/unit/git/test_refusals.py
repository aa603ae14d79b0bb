"""What git, ssh and curl say of a failure, as they say it on various systems and hosts, and the reasons that are made of it."""

import pytest

from pymigrate.engine.adapters.git.refusals import Refusals, is_broken, is_disk_full
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret

WHERE = "https://host.test/defs.git"
# By reason; an empty line parts what is said at one time from the next.
SAID = {
    "CREDENTIALS_REFUSED": """\
remote: Invalid username or token. Password authentication is not supported for Git operations.
fatal: Authentication failed for 'https://host.test/defs.git/'

remote: HTTP Basic: Access denied.
fatal: Authentication failed for 'https://host.test/defs.git/'

fatal: could not read Username for 'https://host.test': terminal prompts disabled

fatal: unable to access 'https://host.test/defs.git/': The requested URL returned error: 403

git@host.test: Permission denied (publickey,gssapi-keyex).
fatal: Could not read from remote repository.

Load key "/x/key": error in libcrypto
git@host.test: Permission denied (publickey).

ERROR: The key you are authenticating with has been marked as read only.
fatal: Could not read from remote repository.

remote: You are not allowed to push code to this project.
fatal: unable to access: The requested URL returned error: 403

Received disconnect from host: Too many authentication failures""",
    "HOST_KEY_REFUSED": """\
No ED25519 host key is known for host.test, and strict checking was requested.
Host key verification failed.

@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@
Host key verification failed.
fatal: Could not read from remote repository.""",
    "CERTIFICATE_REFUSED": """\
fatal: unable to access 'x': server certificate verification failed. CAfile: /x CRLfile: none

fatal: unable to access 'x': SSL certificate problem: unable to get local issuer certificate

fatal: unable to access 'x': SSL certificate problem: self-signed certificate in certificate chain

fatal: unable to access 'x': SSL: no alternative certificate subject name matches target host name 'x'

fatal: unable to access 'x': SSL: certificate subject name (a) does not match target host name 'b'""",
    "REPOSITORY_MISSING": """\
remote: Repository not found.
fatal: repository 'https://host.test/defs.git/' not found

ERROR: Repository not found.
fatal: Could not read from remote repository.

remote: The project you were looking for could not be found or you don't have permission to view it.
fatal: repository 'https://host.test/defs.git/' not found

fatal: '/srv/x.git' does not appear to be a git repository
fatal: Could not read from remote repository.""",
    "REPOSITORY_MOVED": """\
fatal: unable to access 'x': The requested URL returned error: 301""",
    "REFERENCE_MISSING": """\
fatal: couldn't find remote ref refs/heads/gone

fatal: remote error: upload-pack: not our ref 0123456789012345678901234567890123456789

error: Server does not allow request for unadvertised object 0123456789012345678901234567890123456789""",
    "PUSH_REFUSED": """\
!\tabc:refs/heads/main\t[rejected] (stale info)
error: failed to push some refs to 'x'

!\tabc:refs/heads/main\t[remote rejected] (protected branch hook declined)""",
    "REPOSITORY_TOO_LARGE": """\
fatal: write error: File too large
fatal: fetch-pack: invalid index-pack output

error: index-pack died of signal 25
fatal: index-pack failed""",
    "URL_REFUSED": """\
fatal: transport 'file' not allowed""",
}
REFUSED = [(reason, said) for reason, texts in SAID.items() for said in texts.split("\n\n")]
UNAVAILABLE = [
    "fatal: unable to access 'x': Could not resolve host: host.test",
    "fatal: unable to access 'x': Failed to connect to host.test port 443 after 0 ms: Couldn't connect to server",
    "fatal: unable to access 'x': The requested URL returned error: 503",
    "fatal: unable to access 'x': The requested URL returned error: 429",
    "fatal: unable to access 'x': gnutls_handshake() failed: The TLS connection was non-properly terminated.",
    "fatal: unable to access 'x': Operation too slow. Less than 1 bytes/sec transferred the last 60 seconds",
    "error: RPC failed; curl 18 transfer closed with outstanding read data remaining\nfatal: early EOF",
    "fatal: unable to access 'x': Received HTTP code 407 from proxy after CONNECT",
    "ssh: connect to host host.test port 22: Connection timed out\nfatal: Could not read from remote repository.",
    "ssh: Could not resolve hostname host.test: Name or service not known",
    "kex_exchange_identification: Connection closed by remote host",
    "fatal: the remote end hung up unexpectedly",
    "",
    "something that nobody has ever heard",
]


@pytest.mark.parametrize(("reason", "said"), REFUSED)
def test_what_a_person_must_act_on_is_refused_by_its_reason(reason: str, said: str) -> None:
    error = Refusals(Redactor()).of(said, WHERE)
    assert isinstance(error, RepositoryRefused)
    assert error.reason == reason
    assert str(error).startswith(f"{WHERE}: ")


@pytest.mark.parametrize("said", UNAVAILABLE)
def test_everything_else_is_tried_again(said: str) -> None:
    error = Refusals(Redactor()).of(said, WHERE)
    assert isinstance(error, RepositoryUnavailable)
    assert WHERE in str(error)


@pytest.mark.parametrize(("_", "said"), REFUSED)
def test_what_a_host_says_is_never_held_to_be_a_damage_of_the_copy(_: str, said: str) -> None:
    assert not is_broken(said)


@pytest.mark.parametrize(
    "said",
    [
        "fatal: not a git repository: '/x'",
        "error: bad object refs/pymigrate/tips/x",
        "fatal: loose object x (stored in y) is corrupt",
        "error: file /x/pack-y.pack is far too short to be a packfile",
        "fatal: missing blob object 'x'",
        "fatal: bad config line 1 in file config",
        "error: index file /x.idx is too small",
    ],
)
def test_a_damage_of_the_copy_is_known_by_its_words(said: str) -> None:
    assert is_broken(said)


def test_a_full_disk_is_no_damage_and_is_told() -> None:
    said = "fatal: unable to write file: unable to read: No space left on device"
    assert is_disk_full(said)
    assert not is_broken(said)
    assert "make room" in str(Refusals(Redactor()).of(said, WHERE))


def test_what_is_quoted_is_one_short_line_without_secrets() -> None:
    redactor = Redactor()
    redactor.note(Secret("s3cret-token"))
    said = "\n".join(f"remote: \x1b[31ms3cret-token {number}" for number in range(1_000))
    told = Refusals(redactor).quoted(said)
    assert "s3cret" not in told
    assert told.isprintable()
    assert len(told) <= 400
