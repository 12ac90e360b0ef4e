"""What the certificate Secret holds, judged and repaired: authority, serving certificate, their keys.

The fields are those of MetalLB's own Secret of the same name, so an installation that moves over keeps its
authority. Everything here is a pure function of the Secret's content and the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from webhook import pem
from webhook.certificate_authority import AUTHORITY_LIFETIME, SERVING_LIFETIME, KeyPair, issue, new_authority
from webhook.path_token import SECRET_LIFETIME
from webhook.pem import Flawed
from webhook.secret_fields import decoded, encoded

CA_BUNDLE_FIELD = "ca.crt"
CA_KEY_FIELD = "ca.key"
CERTIFICATE_FIELD = "tls.crt"
KEY_FIELD = "tls.key"
CREDENTIAL_FIELDS = (CA_BUNDLE_FIELD, CA_KEY_FIELD, CERTIFICATE_FIELD, KEY_FIELD)
"""The Secret has fields of others as well: the secret of the admission paths."""

_SETTLINGS_PER_LIFETIME = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long certificates live, and how long everybody is given to notice a change (`settle`).

    Either kind is replaced when a third of its life is left. An authority hands over in that third: `settle` until
    every API server trusts the new one, and `settle` again until every replica serves under it. Raises ValueError for
    lifetimes too short for that.
    """

    authority: timedelta = AUTHORITY_LIFETIME
    serving: timedelta = SERVING_LIFETIME
    path_secret: timedelta = SECRET_LIFETIME
    settle: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.serving > self.authority:
            raise ValueError("a serving certificate's lifetime cannot be longer than its authority's")
        if self.settle * _SETTLINGS_PER_LIFETIME > min(self.serving, self.path_secret):
            raise ValueError(
                "settling may take a tenth of the lifetime of a serving certificate or path secret at most"
            )


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
        return {name: encoded(value) for name, value in fields.items()}

    def facts(self) -> dict[str, str]:
        """Return what a log may say of the set: until when it serves, and under whom."""
        certificate = pem.certificates(self.serving.certificate)[0]
        trusted = ",".join(pem.short_serial(anchor) for anchor in pem.anchors(self.ca_bundle))
        return {
            "serial": pem.short_serial(certificate),
            "ends": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            "trusted_authorities": trusted,
        }


def mend(
    stored: Mapping[str, str],
    *,
    dns_names: Sequence[str],
    now: datetime,
    lifetimes: Lifetimes | None = None,
    settled: bool = False,
    fallback: Credentials | None = None,
) -> tuple[Credentials, str | None]:
    """Return the credentials that should stand in a Secret with this `data`, and why they differ (None: they do not).

    What cannot be used is replaced at once, and as little of it as possible: a sound authority signs again, and only
    where there is none does a new one take its place, or `fallback`'s where nothing sound is served meanwhile. What
    is only near its end is replaced step by step, one step a call, so that whoever still has the step before is
    understood: a new authority is first trusted beside the old one, signs once that is `settled`, and the old one
    goes when that is settled in turn.
    """
    lifetimes = lifetimes or Lifetimes()
    content = {name: decoded(value) for name, value in stored.items()}
    flaws = []
    if fallback is not None and not any(content.values()):
        flaws.append("holds nothing")
        content = {name: decoded(value) for name, value in fallback.secret_data().items()}
    bundle = content.get(CA_BUNDLE_FIELD, b"")
    try:
        authority = _authority(content, now)
    except Flawed as flaw:
        flaws.append(str(flaw))
        # While something sound is served, a new authority can take its turn; else the one that is trusted must do.
        spare = None if _serves(content, dns_names=dns_names, now=now) else _fallback_authority(fallback, now)
        authority = spare or new_authority(now=now, lifetime=lifetimes.authority)
        bundle = _trusting(authority, bundle, now)
    if not pem.loads(bundle):
        flaws.append(f"{CA_BUNDLE_FIELD}: holds something that no TLS client takes for a certificate")
        bundle = _trusting(authority, bundle, now)
    try:
        serving = _serving(content, bundle=bundle, dns_names=dns_names, now=now)
    except Flawed as flaw:
        flaws.append(str(flaw))
        serving = issue(authority, dns_names=dns_names, now=now, lifetime=lifetimes.serving)
    credentials = Credentials(ca_bundle=bundle, ca_key=authority.key, serving=serving)
    if flaws:
        return credentials, "; ".join(flaws)
    return _renewed(credentials, authority, dns_names=dns_names, now=now, lifetimes=lifetimes, settled=settled)


def _renewed(
    sound: Credentials,
    authority: KeyPair,
    *,
    dns_names: Sequence[str],
    now: datetime,
    lifetimes: Lifetimes,
    settled: bool,
) -> tuple[Credentials, str | None]:
    """Take the next step, if one is due, of what is never urgent."""
    signer = x509.load_pem_x509_certificate(authority.certificate)
    certificate = pem.certificates(sound.serving.certificate)[0]
    served_by_signer = pem.issued(certificate, by=signer)
    if not served_by_signer and not settled:
        return sound, None
    if not served_by_signer or _near_end(certificate, now, lifetimes.serving):
        serving = issue(authority, dns_names=dns_names, now=now, lifetime=lifetimes.serving)
        why = _ends(certificate, CERTIFICATE_FIELD) if served_by_signer else "the new authority is trusted by now"
        return Credentials(ca_bundle=sound.ca_bundle, ca_key=authority.key, serving=serving), why
    if _near_end(signer, now, lifetimes.authority):
        successor = new_authority(now=now, lifetime=lifetimes.authority)
        bundle = _trusting(successor, sound.ca_bundle, now)
        why = _ends(signer, CA_BUNDLE_FIELD)
        return Credentials(ca_bundle=bundle, ca_key=successor.key, serving=sound.serving), why
    if settled and pem.certificates(sound.ca_bundle) != [signer]:
        why = "nothing is served under the former authority any more"
        return Credentials(ca_bundle=authority.certificate, ca_key=authority.key, serving=sound.serving), why
    return sound, None


def _fallback_authority(fallback: Credentials | None, now: datetime) -> KeyPair | None:
    if fallback is None:
        return None
    try:
        return _authority({CA_BUNDLE_FIELD: fallback.ca_bundle, CA_KEY_FIELD: fallback.ca_key}, now)
    except Flawed:
        return None


def _authority(content: Mapping[str, bytes], now: datetime) -> KeyPair:
    key = content.get(CA_KEY_FIELD, b"")
    public_key = pem.public_key(key, CA_KEY_FIELD)
    for certificate in pem.anchors(content.get(CA_BUNDLE_FIELD, b"")):
        if pem.belongs(certificate, public_key):
            _require_valid(certificate, CA_BUNDLE_FIELD, now)
            return KeyPair(certificate=pem.encoded(certificate), key=key)
    raise Flawed(f"{CA_BUNDLE_FIELD}: holds no authority's certificate of {CA_KEY_FIELD}")


def _serving(content: Mapping[str, bytes], *, bundle: bytes, dns_names: Sequence[str], now: datetime) -> KeyPair:
    pair = KeyPair(certificate=content.get(CERTIFICATE_FIELD, b""), key=content.get(KEY_FIELD, b""))
    certificate = pem.leaf(pair.certificate, key=pair.key, certificate_field=CERTIFICATE_FIELD, key_field=KEY_FIELD)
    _require_valid(certificate, CERTIFICATE_FIELD, now)
    missing = sorted(set(dns_names) - set(pem.dns_names(certificate)))
    if missing:
        raise Flawed(f"{CERTIFICATE_FIELD}: not valid for {', '.join(missing)}")
    if not any(pem.issued(certificate, by=anchor) for anchor in pem.anchors(bundle) if _valid(anchor, now)):
        raise Flawed(f"{CERTIFICATE_FIELD}: not signed by any certificate of {CA_BUNDLE_FIELD}")
    return pair


def _serves(content: Mapping[str, bytes], *, dns_names: Sequence[str], now: datetime) -> bool:
    try:
        _serving(content, bundle=content.get(CA_BUNDLE_FIELD, b""), dns_names=dns_names, now=now)
    except Flawed:
        return False
    return True


def _trusting(authority: KeyPair, stored_bundle: bytes, now: datetime) -> bytes:
    trusted = [authority.certificate]
    for anchor in pem.anchors(stored_bundle):
        if pem.encoded(anchor) not in trusted and anchor.not_valid_after_utc > now:
            trusted.append(pem.encoded(anchor))
    return b"".join(trusted)


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _require_valid(certificate: x509.Certificate, field_name: str, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise Flawed(f"{field_name}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M}")
    if now >= certificate.not_valid_after_utc:
        raise Flawed(_ends(certificate, field_name))


def _near_end(certificate: x509.Certificate, now: datetime, lifetime: timedelta) -> bool:
    """Whether a third of its life is left: of its own, where somebody else gave it a shorter one than we would."""
    own = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < min(own, lifetime) / 3


def _ends(certificate: x509.Certificate, field_name: str) -> str:
    return f"{field_name}: ends {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
