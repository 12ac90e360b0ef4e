"""Certificates and keys as PEM, read as strictly as TLS does, in files and Secrets that anybody may have written."""

from __future__ import annotations

import contextlib
import re
import ssl

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_CERTIFICATE_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SMALLEST_KEY_BITS = {False: 256, True: 2048}
"""By whether the key is RSA (else EC): what OpenSSL and Go accept everywhere."""


class Flawed(Exception):
    """A stored certificate or key cannot be used; the message says which and why."""


def certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates that can be read, passing over what cannot."""
    found = []
    for block in _CERTIFICATE_BLOCK.findall(pem):
        with contextlib.suppress(ValueError):
            found.append(x509.load_pem_x509_certificate(block))
    return found


def anchors(bundle: bytes) -> list[x509.Certificate]:
    """Return what a chain can end in: self-signed authorities, undamaged, that TLS clients can load."""
    return [
        certificate
        for certificate in certificates(bundle)
        if _is_authority(certificate) and issued(certificate, by=certificate) and loads(encoded(certificate))
    ]


def loads(bundle: bytes) -> bool:
    """Return whether TLS clients can load every one of these: OpenSSL is stricter than the parser used here."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def encoded(certificate: x509.Certificate) -> bytes:
    """Return the certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def leaf(pem: bytes, *, key: bytes, certificate_field: str, key_field: str) -> x509.Certificate:
    """Return the first certificate of a chain that goes with its private key. Raises Flawed."""
    readable = certificates(pem)
    if not readable or not loads(pem):
        raise Flawed(f"{certificate_field}: holds no PEM certificate")
    if not belongs(readable[0], public_key(key, key_field)):
        raise Flawed(f"{certificate_field}: does not belong to {key_field}")
    return readable[0]


def public_key(pem: bytes, field_name: str) -> bytes:
    """Return the public half of a private key, DER. Raises Flawed, naming the field it stands in."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Flawed(f"{field_name}: holds no unencrypted PEM private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Flawed(f"{field_name}: neither an EC nor an RSA key")
    if key.key_size < _SMALLEST_KEY_BITS[isinstance(key, rsa.RSAPrivateKey)]:
        raise Flawed(f"{field_name}: a key of {key.key_size} bits is too weak for TLS")
    return _key_bytes(key.public_key())


def belongs(certificate: x509.Certificate, key: bytes) -> bool:
    """Return whether the certificate is of this public key (DER)."""
    try:
        return _key_bytes(certificate.public_key()) == key
    except (ValueError, UnsupportedAlgorithm):
        return False


def issued(certificate: x509.Certificate, *, by: x509.Certificate) -> bool:
    """Return whether `by` signed the certificate."""
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def short_serial(certificate: x509.Certificate) -> str:
    """Return enough of the serial number to distinguish certificates in a log."""
    return f"{certificate.serial_number:x}"[:8]


def dns_names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names the certificate is valid for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _key_bytes(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
