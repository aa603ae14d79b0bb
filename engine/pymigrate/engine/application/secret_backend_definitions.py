"""What may be declared of secret backends. Nothing is contacted and no secret is read."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points

from pymigrate.engine.application.field_definitions import id_problems, length_problems, range_problems, text_problems
from pymigrate.engine.application.file_definitions import option_problems
from pymigrate.engine.application.references import URL_SCHEMES, references_in
from pymigrate.engine.domain.addresses import address_problem
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import is_id, last_segment, nearest
from pymigrate.engine.ports.secrets import OWN_SCHEMES, secret_ref_of
from pymigrate.v1 import secret_backend_pb2 as pb

ENTRY_POINTS = "pymigrate.secrets"
BACKENDS = tuple(field.name for field in pb.SecretBackend.DESCRIPTOR.oneofs_by_name["backend"].fields)
CACHE_SECONDS_MAX = 3_600
TIMEOUT_SECONDS_MAX = 60
OPTION_MAX = 10_000
TEXT_MAX = 2_000
NAMESPACES_MAX = 1_000
KV_VERSIONS_MAX = 1_000
_SCHEME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def secret_backend_problems(backend: pb.SecretBackend) -> Iterator[Problem]:
    """Problems of a backend."""
    yield from text_problems(backend)
    yield from _scheme(last_segment(backend.name), backend.WhichOneof("backend"))
    yield from range_problems("cache_seconds", backend.cache_seconds, 0, CACHE_SECONDS_MAX)
    yield from range_problems("timeout_seconds", backend.timeout_seconds, 0, TIMEOUT_SECONDS_MAX)
    match backend.WhichOneof("backend"):
        case "vault":
            yield from _vault(backend.vault)
        case "aws":
            yield from _aws(backend.aws)
        case "kubernetes":
            yield from _kubernetes(backend.kubernetes)
        case "env":
            if backend.env.prefix and not _VARIABLES.fullmatch(backend.env.prefix):
                yield Problem("env.prefix", "is no beginning of a variable's name: use letters, digits and `_`")
        case "file":
            if backend.file.root:
                yield from _absolute("file.root", backend.file.root)
        case "plugin":
            yield from _plugin(backend.plugin)
        case _:
            yield Problem("backend", f"say what it is: set one of {', '.join(BACKENDS)}")


def _scheme(scheme: str, kind: str | None) -> Iterator[Problem]:
    if not _SCHEME.fullmatch(scheme):
        yield Problem("name", "is no scheme: use 1 to 63 lower-case letters, digits or `-`, beginning with a letter")
    elif scheme in URL_SCHEMES:
        yield Problem("name", f"`{scheme}` is a scheme of URLs, and would be taken for one: choose another")
    elif scheme in OWN_SCHEMES and kind not in (scheme, None):
        yield Problem(
            "name", f"`{scheme}` is the scheme of what `{scheme}` reads: set `{scheme}`, or choose another name"
        )


def _vault(vault: pb.VaultBackend) -> Iterator[Problem]:
    if not vault.address:
        yield Problem("vault.address", "is required, such as https://vault.example.com:8200")
    else:
        yield from _url("vault.address", vault.address)
    yield from length_problems("vault.namespace", vault.namespace, TEXT_MAX)
    if vault.ca_file:
        yield from _absolute("vault.ca_file", vault.ca_file)
    match vault.WhichOneof("login"):
        case "token":
            yield from _own_reference("vault.token", vault.token)
        case "app_role":
            if not vault.app_role.role_id:
                yield Problem("vault.app_role.role_id", "is required")
            yield from _own_reference("vault.app_role.secret_id", vault.app_role.secret_id)
        case "kubernetes":
            if not vault.kubernetes.role:
                yield Problem("vault.kubernetes.role", "is required")
            if vault.kubernetes.token_file:
                yield from _absolute("vault.kubernetes.token_file", vault.kubernetes.token_file)
        case "jwt":
            yield from _own_reference("vault.jwt.jwt", vault.jwt.jwt)
        case _:
            yield Problem("vault.login", "say how one logs in: set one of token, app_role, kubernetes, jwt")
    if len(vault.kv_versions) > KV_VERSIONS_MAX:
        yield Problem("vault.kv_versions", f"has at most {KV_VERSIONS_MAX:,} entries")
    for mount, version in sorted(vault.kv_versions.items()):
        if version not in (1, 2):
            yield Problem(f"vault.kv_versions.{mount}", "must be 1 or 2")


def _aws(aws: pb.AwsSecretsBackend) -> Iterator[Problem]:
    if not _REGION.fullmatch(aws.region):
        yield Problem("aws.region", "is required: a region such as eu-central-1")
    if aws.endpoint_url:
        yield from _url("aws.endpoint_url", aws.endpoint_url)
    for name in ("access_key_id", "secret_access_key", "session_token"):
        if reference := getattr(aws, name):
            yield from _own_reference(f"aws.{name}", reference)
    if bool(aws.access_key_id) != bool(aws.secret_access_key):
        missing = "secret_access_key" if aws.access_key_id else "access_key_id"
        yield Problem(f"aws.{missing}", "is required beside the other half of the access key")
    if aws.session_token and not aws.access_key_id:
        yield Problem("aws.access_key_id", "is required beside `session_token`")
    if aws.role_arn and not _ROLE_ARN.fullmatch(aws.role_arn):
        yield Problem("aws.role_arn", "is no role's ARN: write arn:aws:iam::123456789012:role/name")
    if aws.external_id and not aws.role_arn:
        yield Problem("aws.role_arn", "is required beside `external_id`, which the role asks for")


def _kubernetes(kubernetes: pb.KubernetesSecretsBackend) -> Iterator[Problem]:
    if kubernetes.kubeconfig_file:
        yield from _absolute("kubernetes.kubeconfig_file", kubernetes.kubeconfig_file)
    elif kubernetes.context:
        yield Problem("kubernetes.kubeconfig_file", "is required beside `context`, which is one of its contexts")
    if len(kubernetes.namespaces) > NAMESPACES_MAX:
        yield Problem("kubernetes.namespaces", f"has at most {NAMESPACES_MAX:,} entries")
    for at, name in enumerate(kubernetes.namespaces):
        if not _NAMESPACE.fullmatch(name):
            yield Problem(f"kubernetes.namespaces[{at}]", "is no namespace: use lower-case letters, digits or `-`")


def _plugin(plugin: pb.PluginBackend) -> Iterator[Problem]:
    if plugin.kind in BACKENDS:
        yield Problem("plugin.kind", f"`{plugin.kind}` is one of PyMigrate's own: set `{plugin.kind}` itself")
    elif not is_id(plugin.kind):
        yield from id_problems("plugin.kind", plugin.kind)
    elif plugin.kind not in (known := frozenset(entry_points(group=ENTRY_POINTS).names) - set(BACKENDS)):
        said = f"no installed package has a secret backend `{plugin.kind}`{nearest(plugin.kind, known)}"
        yield Problem("plugin.kind", f"{said}: install one with an entry point in `{ENTRY_POINTS}`")
    yield from option_problems("plugin.options", plugin.options)
    for name, value in sorted(plugin.options.items()):
        yield from length_problems(f"plugin.options.{name}", value, OPTION_MAX)
    for field, ref, _ in references_in(plugin, ()):
        if ref.scheme not in OWN_SCHEMES:
            yield Problem(f"plugin.{field}", f"must lie in env or file: a backend does not read from `{ref.scheme}`")


def _own_reference(path: str, text: str) -> Iterator[Problem]:
    """A backend logs in with what variables and files hold: what is in another backend would have to be logged in to first."""
    ref = secret_ref_of(text)
    if ref is None or ref.scheme not in OWN_SCHEMES:
        yield Problem(path, "must be a reference, never the secret itself: env://NAME or file:///path, with #key")


def _url(path: str, text: str) -> Iterator[Problem]:
    if said := address_problem(text, "https://host:port"):
        yield Problem(path, said)


def _absolute(path: str, value: str) -> Iterator[Problem]:
    if not value.startswith("/") or "\0" in value or "/../" in f"{value}/":
        yield Problem(path, "must be an absolute path on the worker host, without `..`")
