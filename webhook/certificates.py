"""What the certificate Secret holds, judged and mended: authority, serving certificate, their keys.

The fields are those of MetalLB's own Secret of the same name, so an installation that moves over keeps its
authority. Everything here is a pure function of the Secret's content and the time.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from webhook.certificate_authority import KeyPair, issue, new_authority

CA_BUNDLE_FIELD = "ca.crt"
CA_KEY_FIELD = "ca.key"
CERTIFICATE_FIELD = "tls.crt"
KEY_FIELD = "tls.key"

RENEW_BEFORE = timedelta(days=30)
"""A certificate with less than this left is replaced; a month of failed renewals is survived."""

_CERTIFICATE_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SMALLEST_KEY_BITS = {False: 256, True: 2048}
"""By whether the key is RSA (else EC): what OpenSSL and Go accept everywhere."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A consistent set: `serving` verifies against `ca_bundle`, whose signing certificate belongs to `ca_key`.

    `ca_bundle` is a list of PEM certificates, so that an old and a new authority can be trusted side by side.
    """

    ca_bundle: bytes
    ca_key: bytes = field(repr=False)
    serving: KeyPair

    def secret_data(self) -> dict[str, str]:
        """Return the `data` of a Secret that holds this set."""
        fields = {
            CA_BUNDLE_FIELD: self.ca_bundle,
            CA_KEY_FIELD: self.ca_key,
            CERTIFICATE_FIELD: self.serving.certificate,
            KEY_FIELD: self.serving.key,
        }
        return {name: base64.b64encode(value).decode("ascii") for name, value in fields.items()}


class Flawed(Exception):
    """A stored certificate or key cannot be used; the message says which and why."""


def mend(
    stored: Mapping[str, str], *, dns_names: Sequence[str], now: datetime, fallback: Credentials | None = None
) -> tuple[Credentials, str | None]:
    """Return usable credentials made from a Secret's `data`, and why they differ from it (None: they do not).

    As little as possible is replaced: a sound authority signs again, and only where there is none does
    `fallback`'s or a new one take its place. Certificates still valid in the stored bundle stay trusted.
    """
    content = {name: _decoded(value) for name, value in stored.items()}
    flaws = []
    try:
        authority = _authority(content, now)
    except Flawed as flaw:
        flaws.append(str(flaw))
        authority = _fallback_authority(fallback, now) or new_authority(now=now)
    bundle = content.get(CA_BUNDLE_FIELD, b"")
    if flaws or not _loads(bundle):
        flaws = flaws or [f"{CA_BUNDLE_FIELD}: holds something that no TLS client takes for a certificate"]
        bundle = _trusting(authority, bundle, now)
    try:
        serving = _serving(content, bundle=bundle, dns_names=dns_names, now=now)
    except Flawed as flaw:
        flaws.append(str(flaw))
        serving = issue(authority, dns_names=dns_names, now=now)
    return Credentials(ca_bundle=bundle, ca_key=authority.key, serving=serving), "; ".join(flaws) or None


def _fallback_authority(fallback: Credentials | None, now: datetime) -> KeyPair | None:
    if fallback is None:
        return None
    try:
        return _authority({CA_BUNDLE_FIELD: fallback.ca_bundle, CA_KEY_FIELD: fallback.ca_key}, now)
    except Flawed:
        return None


def _authority(content: Mapping[str, bytes], now: datetime) -> KeyPair:
    key = content.get(CA_KEY_FIELD, b"")
    public_key = _public_key(key, CA_KEY_FIELD)
    for certificate in _anchors(content.get(CA_BUNDLE_FIELD, b"")):
        if _belongs(certificate, public_key):
            _require_lifetime(certificate, CA_BUNDLE_FIELD, now)
            return KeyPair(certificate=_pem(certificate), key=key)
    raise Flawed(f"{CA_BUNDLE_FIELD}: holds no authority's certificate of {CA_KEY_FIELD}")


def _serving(content: Mapping[str, bytes], *, bundle: bytes, dns_names: Sequence[str], now: datetime) -> KeyPair:
    pair = KeyPair(certificate=content.get(CERTIFICATE_FIELD, b""), key=content.get(KEY_FIELD, b""))
    readable = _certificates(pair.certificate)
    if not readable or not _loads(pair.certificate):
        raise Flawed(f"{CERTIFICATE_FIELD}: holds no PEM certificate")
    certificate = readable[0]
    if not _belongs(certificate, _public_key(pair.key, KEY_FIELD)):
        raise Flawed(f"{CERTIFICATE_FIELD}: does not belong to {KEY_FIELD}")
    _require_lifetime(certificate, CERTIFICATE_FIELD, now)
    missing = sorted(set(dns_names) - set(_dns_names(certificate)))
    if missing:
        raise Flawed(f"{CERTIFICATE_FIELD}: not valid for {', '.join(missing)}")
    if not any(_issued(certificate, by=anchor) for anchor in _anchors(bundle)):
        raise Flawed(f"{CERTIFICATE_FIELD}: not signed by any certificate of {CA_BUNDLE_FIELD}")
    return pair


def _trusting(authority: KeyPair, stored_bundle: bytes, now: datetime) -> bytes:
    trusted = [authority.certificate]
    for anchor in _anchors(stored_bundle):
        if _pem(anchor) not in trusted and anchor.not_valid_after_utc > now:
            trusted.append(_pem(anchor))
    return b"".join(trusted)


def _anchors(bundle: bytes) -> list[x509.Certificate]:
    """Return what a chain can end in: self-signed authorities, undamaged, that TLS clients can load."""
    return [
        certificate
        for certificate in _certificates(bundle)
        if _is_authority(certificate) and _issued(certificate, by=certificate) and _loads(_pem(certificate))
    ]


def _certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates that can be read, passing over what cannot."""
    found = []
    for block in _CERTIFICATE_BLOCK.findall(pem):
        with contextlib.suppress(ValueError):
            found.append(x509.load_pem_x509_certificate(block))
    return found


def _loads(certificates: bytes) -> bool:
    """Tell whether TLS clients can load every one of these: OpenSSL is stricter than the parser used here."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _public_key(pem: bytes, field_name: str) -> bytes:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Flawed(f"{field_name}: holds no unencrypted PEM private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Flawed(f"{field_name}: neither an EC nor an RSA key")
    if key.key_size < _SMALLEST_KEY_BITS[isinstance(key, rsa.RSAPrivateKey)]:
        raise Flawed(f"{field_name}: a key of {key.key_size} bits is too weak for TLS")
    return _encoded(key.public_key())


def _encoded(public_key: CertificatePublicKeyTypes) -> bytes:
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _belongs(certificate: x509.Certificate, public_key: bytes) -> bool:
    try:
        return _encoded(certificate.public_key()) == public_key
    except (ValueError, UnsupportedAlgorithm):
        return False


def _require_lifetime(certificate: x509.Certificate, field_name: str, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise Flawed(f"{field_name}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M}")
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        raise Flawed(f"{field_name}: ends {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName)


def _issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
