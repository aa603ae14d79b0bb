"""Where definitions refer to secrets, and what they may refer to.

Which fields hold references is said in two tables, by the contract's messages: those that hold nothing else, and those that may hold a
plain text as well. Of the latter a text is a reference where its scheme is that of a secret backend, which `https` is not.
"""

import re
from collections.abc import Collection, Container, Iterator, Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.secrets import (
    OWN_SCHEMES,
    SecretRef,
    reference_in,
    secret_ref_of,
)
from pymigrate.v1 import secret_backend_pb2

ALWAYS = frozenset(
    {
        ("PostgresSystem", "password"),
        ("MysqlSystem", "password"),
        ("SqlalchemySystem", "password"),
        ("MaskColumns", "key"),
        ("SmtpChannel", "password"),
        ("WebhookChannel", "signing_key"),
        ("WebhookChannel", "former_signing_key"),
        ("WebhookChannel", "secret_headers"),
        ("AppriseChannel", "url"),
        ("TestSecretsWork", "reference"),
        ("VaultBackend", "token"),
        ("VaultAppRole", "secret_id"),
        ("VaultJwtLogin", "jwt"),
        ("AwsSecretsBackend", "access_key_id"),
        ("AwsSecretsBackend", "secret_access_key"),
        ("AwsSecretsBackend", "session_token"),
        ("GitHttpsLogin", "token"),
        ("GitSshLogin", "private_key"),
        ("GitWebhook", "secrets"),
        ("GitHost", "token"),
    }
)
SOMETIMES = frozenset(
    {
        ("PostgresSystem", "user"),
        ("MysqlSystem", "user"),
        ("FilesSystem", "options"),
        ("HttpApiSystem", "headers"),
        ("PluginSystem", "options"),
        ("HttpCall", "headers"),
        ("PluginChannel", "options"),
        ("PluginBackend", "options"),
    }
)
# Schemes of URLs that fields hold beside references, or that somebody may take for one: no secret backend is called so.
URL_SCHEMES = frozenset(
    (
        "abfs",
        "abfss",
        "adl",
        "az",
        "azure",
        "bigquery",
        "data",
        "discord",
        "dropbox",
        "duckdb",
        "ftp",
        "ftps",
        "gcs",
        "gdrive",
        "git",
        "github",
        "gs",
        "hdfs",
        "hf",
        "http",
        "https",
        "json",
        "jsons",
        "local",
        "mailto",
        "mailtos",
        "mariadb",
        "memory",
        "mongodb",
        "mssql",
        "msteams",
        "mysql",
        "oci",
        "oracle",
        "oss",
        "pagerduty",
        "postgres",
        "postgresql",
        "redis",
        "redshift",
        "s3",
        "s3a",
        "sftp",
        "slack",
        "slackbot",
        "smb",
        "snowflake",
        "sqlite",
        "ssh",
        "telegram",
        "tgram",
        "trino",
        "twilio",
        "webdav",
        "webhdfs",
        "xml",
        "xmls",
    )
)
WRITE = "env://NAME, file:///path#key, vault://mount/path#field, aws-sm://name#key or k8s://namespace/name#key"
_SHAPES = {
    "env": re.compile(r"env://[A-Za-z_][A-Za-z0-9_]*(#\S+)?"),
    "file": re.compile(r"file:///[^#\s]+(#[^#\s]+)?"),
    "vault": re.compile(r"vault://[^#\s/]+(/[^#\s/]+)+(#\S+)?"),
    "aws-sm": re.compile(r"aws-sm://[A-Za-z0-9/_+=.@:!-]+(#\S+)?"),
    "k8s": re.compile(r"k8s://[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?#[A-Za-z0-9._-]+"),
}
_Path = tuple[str, ...]


def is_reference(text: str) -> bool:
    """Whether a text is shaped as a reference to a secret; whether its scheme is declared is looked at by `undeclared_problems`."""
    ref = secret_ref_of(text)
    if ref is None or ref.scheme in URL_SCHEMES:
        return False
    shape = _SHAPES.get(ref.scheme)
    return shape is None or shape.fullmatch(text) is not None


def secret_problems(path: str, reference: str, noun: str = "password") -> Iterator[Problem]:
    """Problems of a field that refers to a secret; what it holds instead is never repeated."""
    if reference and not is_reference(reference):
        yield Problem(path, f"must be a reference, never the {noun} itself: {WRITE}")


def references_in(message: Message, schemes: Collection[str]) -> Iterator[tuple[str, SecretRef, bool]]:
    """Every reference that a message holds, with its field, and whether the field holds nothing else; `schemes` are those of declared
    backends. Of the backends that a task brings along nothing is looked at: what they log in with is theirs alone."""
    open_messages: list[tuple[_Path, Message]] = [((), message)]
    while open_messages:
        path, each = open_messages.pop()
        for field, value in each.ListFields():
            place = (each.DESCRIPTOR.name, field.name)
            for name, part in _parts(field, value):
                here = (*path, name)
                if isinstance(part, Message):
                    if not isinstance(part, secret_backend_pb2.SecretBackend):
                        open_messages.append((here, part))
                elif place in ALWAYS and (ref := secret_ref_of(part)) is not None:
                    yield ".".join(here), ref, True
                elif place in SOMETIMES and (ref := reference_in(part, schemes)) is not None:
                    yield ".".join(here), ref, False


def undeclared_problems(
    message: Message, schemes: Container[str], *, known: Collection[str] = (), prefix: str = ""
) -> Iterator[Problem]:
    """A problem for each reference of a scheme that has no backend in its environment. `known` are schemes that may be declared later."""
    declared = schemes if isinstance(schemes, Collection) else ()
    for field, ref, _ in sorted(references_in(message, declared), key=lambda found: found[0]):
        if ref.scheme not in schemes and ref.scheme not in OWN_SCHEMES and ref.scheme not in known:
            said = f"there is no secret backend `{ref.scheme}` in this environment{nearest(ref.scheme, declared)}"
            yield Problem(f"{prefix}{field}", f"{said}; declare secretBackends/{ref.scheme}", is_missing=True)


def needed_backends(
    message: Message, declared: Mapping[str, secret_backend_pb2.SecretBackend]
) -> dict[str, secret_backend_pb2.SecretBackend]:
    """Those of the declared backends that a message's references lead to, and those that the backends' own references lead to."""
    schemes = {ref.scheme for _, ref, _ in references_in(message, declared)}
    return with_their_own({scheme: declared[scheme] for scheme in schemes if scheme in declared}, declared)


def with_their_own(
    backends: Mapping[str, secret_backend_pb2.SecretBackend], declared: Mapping[str, secret_backend_pb2.SecretBackend]
) -> dict[str, secret_backend_pb2.SecretBackend]:
    """These backends, and the declared ones that what they log in with lies in."""
    found = dict(backends)
    for backend in tuple(found.values()):
        for _, ref, _ in references_in(backend, ()):
            if ref.scheme in OWN_SCHEMES and ref.scheme in declared:
                found[ref.scheme] = declared[ref.scheme]
    return found


def _parts(field: FieldDescriptor, value: object) -> Iterator[tuple[str, Message | str]]:
    """The messages and texts that a field holds, each with what it is called in paths."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from ((f"{field.name}.{key}", part) for part in (value[key],) if isinstance(part, Message | str))
    elif isinstance(value, Message | str):
        yield field.name, value
    elif field.label == FieldDescriptor.LABEL_REPEATED and field.type in (
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_STRING,
    ):
        yield from ((f"{field.name}[{at}]", part) for at, part in enumerate(value))  # type: ignore[arg-type, var-annotated]
