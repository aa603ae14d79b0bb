"""Certificates that clients show: which are taken, and whom one names.

That an authority has signed it, and that it is its holder's, the handshake has seen to. What is looked at here holds for each call, since a
connection may outlive the certificate that it began with.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.ports.identity import Identity

if TYPE_CHECKING:
    from cryptography import x509

    Extension = TypeVar("Extension", bound=x509.ExtensionType)

PRINCIPAL = "certificate"
NAME_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Which are taken: those that authorities of this file have signed. `is_required`: nobody connects without one."""

    authorities: Path
    is_required: bool = False


def certificate_identity(certificate: bytes, now: datetime) -> Identity:
    """Whom a certificate names (DER): by its first URI, else its first DNS name, else its common name; its groups are its organizational
    units. Raises Unauthenticated for one that has ended, is not for clients, or names nobody."""
    from cryptography import x509  # not by those that serve without TLS
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    try:
        shown = x509.load_der_x509_certificate(certificate)
        units = frozenset(_texts(shown.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)))
        name = next(_names(shown), "")
        usages = _extension(shown, x509.ExtendedKeyUsage)
        begins, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    except ValueError as error:
        raise Unauthenticated("the client's certificate can't be read") from error
    if not begins <= now < ends:
        raise Unauthenticated("the client's certificate has ended, or does not hold yet: connect with another one")
    for_clients = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usages is not None and not for_clients & set(usages):
        raise Unauthenticated("the certificate is not for clients: ask its authority for one with the usage clientAuth")
    if not _is_name(name):
        raise Unauthenticated("the client's certificate names nobody: it takes a URI, a DNS name or a common name")
    return Identity(f"{PRINCIPAL}/{name}", frozenset(filter(_is_name, units)))


def _names(shown: "x509.Certificate") -> Iterator[str]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    alternatives = _extension(shown, x509.SubjectAlternativeName)
    if alternatives is not None:
        yield from alternatives.get_values_for_type(x509.UniformResourceIdentifier)
        yield from alternatives.get_values_for_type(x509.DNSName)
    yield from _texts(shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _extension(shown: "x509.Certificate", kind: "type[Extension]") -> "Extension | None":
    from cryptography import x509

    try:
        return shown.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _texts(attributes: "Iterable[x509.NameAttribute[str | bytes]]") -> Iterator[str]:
    return (each.value for each in attributes if isinstance(each.value, str))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_CHARACTERS_MAX and text.isprintable() and text == text.strip()
