"""The certificate that Terraform checks the provider's socket with. Cached, so that `cryptography` is imported once a month."""

import base64
import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

VALID_SECONDS = 30 * 24 * 3600
SPARE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Certificate:
    """A key and its self-signed certificate, both PEM, and the certificate as DER. The key never shows in a repr."""

    key: bytes
    pem: bytes
    der: bytes

    def __repr__(self) -> str:
        return "Certificate(***)"


def cache_path() -> Path | None:
    """Where the certificate is kept: in the user's cache folder. None for a user without a home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "pymigrate" / "provider-certificate.json" if base.is_absolute() else None


def load(path: Path | None) -> Certificate:
    """The kept certificate while it is valid for a day more, else a fresh one, kept where that is possible."""
    if path is None:
        return make()
    # Whatever stands there instead of a certificate is replaced.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(path.read_text())
        if kept["expires"] > time.time() + SPARE_SECONDS:
            return Certificate(kept["key"].encode(), kept["pem"].encode(), base64.b64decode(kept["der"]))
    made = make()
    with contextlib.suppress(OSError):  # a home that can't be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        body = {
            "expires": time.time() + VALID_SECONDS,
            "key": made.key.decode(),
            "pem": made.pem.decode(),
            "der": base64.b64encode(made.der).decode(),
        }
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(body, file)
        fresh.replace(path)
    return made


def make() -> Certificate:
    """A fresh P-256 key with a certificate for `localhost`, valid for thirty days."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=True, data_encipherment=False,
        key_agreement=True, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(seconds=VALID_SECONDS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        secret,
        certificate.public_bytes(serialization.Encoding.PEM),
        certificate.public_bytes(serialization.Encoding.DER),
    )
