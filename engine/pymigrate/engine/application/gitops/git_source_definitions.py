"""What may be declared of Git sources. Nothing is contacted and no secret is read."""

import re
from collections.abc import Iterator

from pymigrate.engine.application.field_definitions import (
    id_problems,
    length_problems,
    names_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.references import secret_problems
from pymigrate.engine.domain.addresses import address_problem
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.git_names import (
    author_problem,
    branch_problem,
    commit_problem,
    path_problem,
    scheme_of,
    url_problem,
)
from pymigrate.engine.domain.names import is_id, last_segment
from pymigrate.v1 import definition_pb2, git_source_pb2

INTERVAL_SECONDS_MIN = 5
INTERVAL_SECONDS_MAX = 86_400
TIMEOUT_SECONDS_MAX = 3_600
LOGIN_CHARACTERS_MAX = 100_000
STARTED_PLANS_MAX = 1_000
WEBHOOK_SECRETS_MAX = 2
EVERY_PLAN = "*"
SIDES_TAKEN_OVER = frozenset({"api", "cli", "terraform", "kubernetes"})
_CERTIFICATES = re.compile(
    r"(?:[^-\n]*\n)*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----(?:\s|[^-])*"
)
_OPENPGP = re.compile(r"\s*-----BEGIN PGP PUBLIC KEY BLOCK-----.*-----END PGP PUBLIC KEY BLOCK-----\s*", re.DOTALL)
_KEY = r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}"
_KNOWN_HOST = re.compile(rf"(?:@(?:cert-authority|revoked) )?[^\s|@#-][^\s]* {_KEY}(?: .*)?")
_SIGNER = re.compile(rf"[^\s#]\S* (?:\S+ )*?{_KEY}(?: .*)?")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.][\w.-]*(?:/[A-Za-z0-9_.][\w.-]*)+")


def git_source_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    """Problems of a source."""
    yield from text_problems(source)
    if said := url_problem(source.url):
        yield Problem("url", said)
    yield from _reference_problems(source)
    if source.path and (said := path_problem(source.path)):
        yield Problem("path", said)
    if source.environment:
        yield from id_problems("environment", source.environment)
    if source.interval_seconds:
        yield from range_problems(
            "interval_seconds", source.interval_seconds, INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX
        )
    yield from range_problems("timeout_seconds", source.timeout_seconds, 0, TIMEOUT_SECONDS_MAX)
    yield from _login_problems(source)
    if source.HasField("signatures"):
        yield from _signature_problems(source.signatures)
    yield from _enum_problems(source)
    yield from _list_problems(source)
    if source.HasField("webhook"):
        yield from _webhook_problems(source.webhook)
    if source.HasField("host"):
        yield from _host_problems(source.host)
    if source.HasField("promotion"):
        yield from _promotion_problems(source)


def _reference_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    match source.WhichOneof("reference"):
        case "commit":
            said = commit_problem(source.commit)
        case "branch" | "tag" as field:
            said = branch_problem(getattr(source, field))
        case _:
            return
    if said:
        yield Problem(str(source.WhichOneof("reference")), said)


def _login_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    scheme, login = scheme_of(source.url), source.WhichOneof("login")
    if scheme == "ssh" and login != "ssh":
        yield Problem(
            "ssh", "is required: a url over SSH is reached with a key, and with the keys that its host may have"
        )
    if scheme in ("https", "http") and login == "ssh":
        yield Problem("ssh", "is for urls over SSH: set `https` with a token, or write the url as ssh://user@host/path")
    if login == "https":
        if any(not "!" <= each <= "~" or each == ":" for each in source.https.username):
            yield Problem("https.username", "must be of printable ASCII characters, without blanks and `:`")
        yield from length_problems("https.username", source.https.username, 250)
        if source.https.username and not source.https.token:
            yield Problem("https.token", "is required beside `username`: a reference to the token or password")
        yield from secret_problems("https.token", source.https.token, "token")
        yield from length_problems("https.ca_certificates", source.https.ca_certificates, LOGIN_CHARACTERS_MAX)
        certificates = source.https.ca_certificates
        if len(certificates) <= LOGIN_CHARACTERS_MAX and certificates and not _CERTIFICATES.match(certificates):
            yield Problem(
                "https.ca_certificates", "holds no certificate: write PEM, from -----BEGIN CERTIFICATE----- on"
            )
    if login == "ssh":
        if not source.ssh.private_key:
            yield Problem("ssh.private_key", "is required: a reference to the private key")
        yield from secret_problems("ssh.private_key", source.ssh.private_key, "key")
        if not source.ssh.known_hosts.strip():
            yield Problem(
                "ssh.known_hosts", "is required: the lines that `ssh-keyscan` gives, after they were compared"
            )
        yield from _line_problems(
            "ssh.known_hosts", source.ssh.known_hosts, _KNOWN_HOST, "`known_hosts` with a host's name"
        )


def _signature_problems(signatures: git_source_pb2.GitSignatures) -> Iterator[Problem]:
    if not signatures.ssh_allowed_signers.strip() and not signatures.openpgp_public_keys.strip():
        yield Problem("signatures", "say whose signatures are good: set ssh_allowed_signers or openpgp_public_keys")
    yield from _line_problems(
        "signatures.ssh_allowed_signers", signatures.ssh_allowed_signers, _SIGNER, "an `allowed_signers` file"
    )
    keys = signatures.openpgp_public_keys
    yield from length_problems("signatures.openpgp_public_keys", keys, LOGIN_CHARACTERS_MAX)
    if keys.strip() and not _OPENPGP.fullmatch(keys):
        yield Problem("signatures.openpgp_public_keys", "must be public keys in ASCII armour, and nothing else")


def _enum_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    for field, enum in (
        ("sync_mode", git_source_pb2.SyncMode),
        ("prune_policy", definition_pb2.PrunePolicy),
        ("drift_policy", git_source_pb2.DriftPolicy),
    ):
        if getattr(source, field) not in enum.values():
            yield Problem(field, "is a value that this engine does not know")


def _list_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    sides = list(source.taken_over_sides)
    if unknown := [side for side in sides if side not in SIDES_TAKEN_OVER]:
        yield Problem("taken_over_sides", f"`{unknown[0]}` is none of {', '.join(sorted(SIDES_TAKEN_OVER))}")
    if len(set(sides)) < len(sides):
        yield Problem("taken_over_sides", "names one twice")
    plans = list(source.started_plans)
    if EVERY_PLAN in plans and len(plans) > 1:
        yield Problem("started_plans", "names plans beside `*`, which is every one")
    elif plans != [EVERY_PLAN]:
        yield from names_problems("started_plans", plans, STARTED_PLANS_MAX)


def _webhook_problems(webhook: git_source_pb2.GitWebhook) -> Iterator[Problem]:
    yield from _provider_problems("webhook.provider", webhook.provider)
    if not 1 <= len(webhook.secrets) <= WEBHOOK_SECRETS_MAX:
        yield Problem("webhook.secrets", f"has 1 to {WEBHOOK_SECRETS_MAX} entries: what is not signed is refused")
    for at, reference in enumerate(webhook.secrets):
        if not reference:
            yield Problem(f"webhook.secrets[{at}]", "is empty: write a reference")
        yield from secret_problems(f"webhook.secrets[{at}]", reference, "secret")


def _host_problems(host: git_source_pb2.GitHost) -> Iterator[Problem]:
    yield from _provider_problems("host.provider", host.provider)
    if host.api_url and (said := address_problem(host.api_url, "https://host/path")):
        yield Problem("host.api_url", said)
    if not _REPOSITORY.fullmatch(host.repository) or ".." in host.repository:
        yield Problem("host.repository", "is required: the repository within its host, such as `owner/name`")
    yield from length_problems("host.repository", host.repository, 500)
    if not host.token:
        yield Problem("host.token", "is required: a reference to the token that the API is called with")
    yield from secret_problems("host.token", host.token, "token")


def _promotion_problems(source: git_source_pb2.GitSource) -> Iterator[Problem]:
    promotion = source.promotion
    if promotion.delivery not in git_source_pb2.PromotionDelivery.values():
        yield Problem("promotion.delivery", "is a value that this engine does not know")
    if not is_id(promotion.promoted_from):
        yield Problem(
            "promotion.promoted_from", "is required: the source that a revision must have succeeded in before"
        )
    elif promotion.promoted_from == last_segment(source.name):
        yield Problem("promotion.promoted_from", "is the source itself")
    if source.WhichOneof("reference") in ("tag", "commit"):
        yield Problem("promotion", f"needs a branch to push to, and the source has a {source.WhichOneof('reference')}")
    if promotion.pin_file and (said := path_problem(promotion.pin_file)):
        yield Problem("promotion.pin_file", said)
    if promotion.author and (said := author_problem(promotion.author)):
        yield Problem("promotion.author", said)


def _provider_problems(path: str, provider: int) -> Iterator[Problem]:
    if provider not in git_source_pb2.GitProvider.values() or not provider:
        yield Problem(path, "is required: `github`, `gitlab` or `bitbucket`")


def _line_problems(path: str, text: str, line: re.Pattern[str], what: str) -> Iterator[Problem]:
    yield from length_problems(path, text, LOGIN_CHARACTERS_MAX)
    if len(text) > LOGIN_CHARACTERS_MAX:
        return
    for number, each in enumerate(text.splitlines(), start=1):
        if each.strip() and not each.startswith("#") and not line.fullmatch(each):
            yield Problem(path, f"line {number} is none of {what}, followed by the key's type and the key")
            return
