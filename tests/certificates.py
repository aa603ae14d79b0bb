"""Certificates of a test's own authorities, as files that a server is given and that are renewed."""

import datetime as dt
import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FROM = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
HERE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class CertificateFiles:
    """The files of a certificate, of its key and of its authority, as cert-manager names them."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def authorities(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def environment(self) -> dict[str, str]:
        """What an engine that serves with them is started with."""
        return {
            "PYMIGRATE_TLS_CERTIFICATE": str(self.certificate),
            "PYMIGRATE_TLS_KEY": str(self.key),
            "PYMIGRATE_CA_FILE": str(self.authorities),
        }


class CertificateAuthority:
    """An authority that signs certificates, each with the next serial number."""

    def __init__(self, name: str = "Authority of tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._serials = itertools.count(2)
        made = self._made(self._name, self._key, 1, x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = made.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, folder: Path, names: Sequence[str] = HERE, valid_until: dt.datetime = VALID_UNTIL
    ) -> CertificateFiles:
        """Writes a new certificate and its key into a folder, in place of what was there, each file whole."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: x509.ExtensionType = x509.SubjectAlternativeName([_alternative(name) for name in names])
        if not names:
            alternatives = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        made = self._made(_named("Engine of tests"), key, next(self._serials), alternatives, valid_until)
        return self._written(folder, made, key)

    def _written(self, folder: Path, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> CertificateFiles:
        files = CertificateFiles(folder)
        folder.mkdir(parents=True, exist_ok=True)
        replace(files.certificate, made.public_bytes(serialization.Encoding.PEM))
        replace(
            files.key,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        replace(files.authorities, self.certificate)
        return files

    def issue_client(
        self,
        folder: Path,
        *,
        names: Sequence[x509.GeneralName] = (),
        common_name: str = "",
        units: Sequence[str] = (),
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        valid_until: dt.datetime = VALID_UNTIL,
    ) -> CertificateFiles:
        """Writes a client's certificate and its key into a folder."""
        key, named = ec.generate_private_key(ec.SECP256R1()), [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")]
        named += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        named += [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(named))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(next(self._serials))
            .not_valid_before(VALID_FROM)
            .not_valid_after(valid_until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return self._written(folder, builder.sign(self._key, hashes.SHA256()), key)

    def _made(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        serial: int,
        extension: x509.ExtensionType,
        valid_until: dt.datetime = VALID_UNTIL,
    ) -> x509.Certificate:
        is_own = isinstance(extension, x509.BasicConstraints)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(VALID_FROM)
            .not_valid_after(valid_until)
            .add_extension(extension, critical=is_own)
            .add_extension(own, critical=False)
            .add_extension(signer, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def replace(path: Path, content: bytes) -> None:
    """Writes a file whole."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
