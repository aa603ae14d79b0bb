"""A cluster as a kubeconfig names it: its current context, with a token or a client's certificate.

What starts a program or speaks to others on the way (exec, auth-provider, proxy-url), and what acts as somebody else, is refused:
left out in silence, it would be another access than the file means.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.kubernetes.access import (
    Access,
    FileToken,
    FixedToken,
    Token,
    checked_server,
    unverifying,
    verifying,
)
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import ClusterMisconfigured

KUBECONFIG_BYTES_MAX = 4 * 1024 * 1024
REFUSED_OF_USERS = {
    "exec": "starts a program: name a token file or a client's certificate",
    "auth-provider": "is not spoken any more: name a token file or a client's certificate",
    "username": "is no way in since Kubernetes 1.19: name a token file or a client's certificate",
    "as": "acts as somebody else: name a user of its own",
    "as-uid": "acts as somebody else: name a user of its own",
    "as-groups": "acts as somebody else: name a user of its own",
    "as-user-extra": "acts as somebody else: name a user of its own",
}
REFUSED_OF_CLUSTERS = {"proxy-url": "is not supported: name the address that the proxy leads to"}

Document = Mapping[str, Any]


def kubeconfig_access(path: Path, clock: Clock) -> Access:
    """By its current context. Raises ClusterMisconfigured, which names what is wrong and never a secret."""
    document = _read(path)
    context = _named(path, document, "contexts", "context", str(document.get("current-context") or ""))
    cluster = _named(path, document, "clusters", "cluster", str(context.get("cluster") or ""))
    user = _named(path, document, "users", "user", str(context.get("user") or "")) if context.get("user") else {}
    _refuse(path, "user", user, REFUSED_OF_USERS)
    _refuse(path, "cluster", cluster, REFUSED_OF_CLUSTERS)
    server = checked_server(str(cluster.get("server") or ""), str(path))
    is_verified = not cluster.get("insecure-skip-tls-verify", False)
    return Access(
        server=server,
        namespace=str(context.get("namespace") or "default"),
        token=_token(path, user, clock),
        tls=_tls(path, cluster, user, is_verified=is_verified) if server.startswith("https:") else None,
        server_name=str(cluster.get("tls-server-name") or "") or None,
        is_verified=is_verified,
    )


def _read(path: Path) -> Document:
    import yaml

    try:
        with path.open("rb") as file:
            document = yaml.safe_load(file.read(KUBECONFIG_BYTES_MAX))
    except OSError as error:
        raise ClusterMisconfigured(f"{path} can't be read ({error.strerror}): name another kubeconfig") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        document = None  # an error of the parser shows lines of the file, secrets as well
    if not isinstance(document, Mapping):
        raise ClusterMisconfigured(f"{path} is no kubeconfig: it is not a mapping in YAML")
    return document


def _named(path: Path, document: Document, many: str, one: str, name: str) -> Document:
    entries = document.get(many)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(one), Mapping):
            found: Document = entry[one]
            return found
    raise ClusterMisconfigured(f"{path}: there is no {one} called `{name}`: name one of its {many}")


def _refuse(path: Path, one: str, entry: Document, refused: Mapping[str, str]) -> None:
    for field, why in refused.items():
        if entry.get(field):
            raise ClusterMisconfigured(f"{path}: `{field}` of the {one} {why}")


def _token(path: Path, user: Document, clock: Clock) -> Token:
    # The file goes before the token beside it, as it does for other clients.
    if named := user.get("tokenFile"):
        return FileToken(path.parent / str(named), clock)
    text = str(user.get("token") or "").strip()
    if not text.isascii() or not text.isprintable():
        raise ClusterMisconfigured(f"{path}: the user's token has other characters than a token has")
    return FixedToken(text)


def _tls(path: Path, cluster: Document, user: Document, *, is_verified: bool) -> ssl.SSLContext:
    if is_verified:
        named = cluster.get("certificate-authority")
        authority = _decoded(path, "certificate-authority-data", cluster)
        context = verifying(
            str(path),
            authority.decode("ascii", "replace"),
            path.parent / str(named) if named and not authority else None,
        )
    else:
        context = unverifying()
    certificate = _pem(path, user, "client-certificate")
    key = _pem(path, user, "client-key")
    if bool(certificate) != bool(key):
        raise ClusterMisconfigured(f"{path}: a client's certificate and its key are named together or not at all")
    if certificate and key:
        _present(path, context, certificate, key)
    return context


def _decoded(path: Path, field: str, entry: Document) -> bytes:
    try:
        return base64.b64decode(str(entry.get(field) or ""), validate=True)
    except (binascii.Error, ValueError):
        raise ClusterMisconfigured(f"{path}: `{field}` is not base64") from None


def _pem(path: Path, user: Document, field: str) -> bytes:
    if found := _decoded(path, f"{field}-data", user):
        return found
    if not (named := user.get(field)):
        return b""
    try:
        return (path.parent / str(named)).read_bytes()
    except OSError as error:
        raise ClusterMisconfigured(f"{path}: `{field}` can't be read ({error.strerror})") from error


def _present(path: Path, context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL takes a certificate's chain from a file alone; nobody else can read it, and it is gone at once.
    handle, name = tempfile.mkstemp(prefix="pymigrate-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(name)
    except (ssl.SSLError, OSError) as error:
        raise ClusterMisconfigured(f"{path}: the client's certificate and key are no pair ({error})") from error
    finally:
        Path(name).unlink(missing_ok=True)
