"""What cert-manager, its CA injector and a kubelet do with the objects of our component, done by hand.

A leaf of cert-manager's has no subject when its Certificate names none, and a critical list of names. A renewed
authority with `rotationPolicy: Never` keeps its key. The injector replaces every caBundle by the Secret's ca.crt. A
kubelet shows a Secret as files behind a link that it turns to the next version, sooner on one node than on another.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from allocator.kube.client import JSON_PATCH, AlreadyExists, Cluster
from allocator.kube.resource import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from allocator.objects.names import DEFAULT_NAMESPACE, WEBHOOK_CONFIGURATION

SECRET = "metallb-webhook-server-cert"
CONFIGURATIONS = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)


class CertManager:
    """One authority, and the Secret with the certificate it issued last; owned by one test."""

    def __init__(self, cluster: Cluster, *, dns_names: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._dns_names = dns_names
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.authority = self._signed_by_itself()

    def renew_authority(self) -> None:
        """Give the authority a new certificate of the same name and key; the next `issue` has it in ca.crt."""
        self.authority = self._signed_by_itself()

    def issue(self, *, dns_names: tuple[str, ...] | None = None) -> x509.Certificate:
        """Write a new key and certificate into the Secret, as at the first issuance and at every renewal."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(name) for name in dns_names or self._dns_names]
        leaf = (
            self._builder(x509.Name([]), key, days=90)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.store({"tls.crt": pem_of(leaf), "tls.key": pem_of_key(key), "ca.crt": pem_of(self.authority)})
        return leaf

    def store(self, files: dict[str, bytes]) -> None:
        """Write these keys of the Secret."""
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        fresh = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "kubernetes.io/tls"}
        try:
            self._cluster.create(SECRETS, {**fresh, "data": data}, DEFAULT_NAMESPACE)
        except AlreadyExists:
            self._cluster.patch(SECRETS, SECRET, {"data": data}, DEFAULT_NAMESPACE)

    def inject(self) -> None:
        """Let the CA injector copy the Secret's ca.crt into every webhook."""
        register(self._cluster, self.files()["ca.crt"])

    def mount(self, folder: Path) -> None:
        """Let a kubelet show the Secret as it is now."""
        versions = len(list(folder.glob("..version-*")))
        version = folder / f"..version-{versions}"
        version.mkdir(parents=True)
        for name, content in self.files().items():
            (version / name).write_bytes(content)
            with suppress(FileExistsError):
                (folder / name).symlink_to(f"..data/{name}")
        turned = folder / "..data_tmp"
        turned.symlink_to(version.name)
        turned.rename(folder / "..data")

    def files(self) -> dict[str, bytes]:
        """Return the Secret's content."""
        data = self._cluster.get(SECRETS, SECRET, DEFAULT_NAMESPACE)["data"]
        return {name: base64.b64decode(value) for name, value in data.items()}

    def _signed_by_itself(self) -> x509.Certificate:
        return (
            self._builder(self._name(), self._key, days=3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name())
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=5))
            .not_valid_after(now + timedelta(days=days))
        )

    @staticmethod
    def _name() -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "metallb-webhook-ca")])


def register(cluster: Cluster, ca_bundle: bytes | None) -> None:
    """Give every webhook of ours this caBundle, or none."""
    for resource in CONFIGURATIONS:
        patch = []
        for index, webhook in enumerate(cluster.get(resource, WEBHOOK_CONFIGURATION)["webhooks"]):
            path = f"/webhooks/{index}/clientConfig/caBundle"
            if ca_bundle is not None:
                patch.append({"op": "add", "path": path, "value": base64.b64encode(ca_bundle).decode()})
            elif "caBundle" in webhook["clientConfig"]:
                patch.append({"op": "remove", "path": path})
        cluster.patch(resource, WEBHOOK_CONFIGURATION, patch, content_type=JSON_PATCH)


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in the form cert-manager writes for ECDSA (SEC 1)."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
