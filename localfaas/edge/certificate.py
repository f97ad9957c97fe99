"""The edge's certificate: made at the first start for this machine's own names, and renewed before it ends.

Key and certificate are one file, so that a replacement is one rename and Envoy never reads a key with another's
certificate. A certificate that was put there by somebody else is used as it is and never replaced.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localfaas.database import write_secret

FILE = "edge-tls.pem"
ISSUER = "localfaas embedded edge"
"""The common name by which we know our own."""
LIFETIME = timedelta(days=397)
"""Browsers refuse certificates that are valid for longer."""
RENEWED_BEFORE_END = timedelta(days=30)
_NAMES = (
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
)


class CertificateError(ValueError):
    """The file in the secrets directory cannot be used; the message says what to do."""


def ensure_certificate(secrets: Path, now: datetime | None = None, issuer: str | None = None) -> bool:
    """See to it that `secrets` holds a key with a certificate that goes on for a while; return whether one was made.

    `issuer` is the name by which the caller knows its own (the embedded edge's).

    Raises CertificateError for a file that is neither.
    """
    path, moment, name = secrets / FILE, now or datetime.now(UTC), issuer or ISSUER
    if path.exists():
        present = read_certificate(path)
        ours = present.issuer.rfc4514_string() == f"CN={name}"
        if not ours or moment < present.not_valid_after_utc - RENEWED_BEFORE_END:
            return False
    write_secret(path, _new_pair(moment, name))
    return True


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate of a file that has its key too. Raises CertificateError."""
    content = path.read_bytes()
    try:
        serialization.load_pem_private_key(content, password=None)
        return x509.load_pem_x509_certificate(content)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"{path} must hold a private key and its certificate as PEM ({error}); remove it, and a new one is made"
        ) from error


def _new_pair(now: datetime, issuer: str) -> str:
    """A key and a certificate that it signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (secret + certificate.public_bytes(serialization.Encoding.PEM)).decode()
