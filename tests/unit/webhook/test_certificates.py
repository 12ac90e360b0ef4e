"""What the certificate Secret must hold, and how little is replaced to make it so."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.effort import examples
from webhook.certificate_authority import AUTHORITY_LIFETIME, SERVING_LIFETIME, issue, new_authority
from webhook.certificates import Credentials, mend
from webhook.tls import client_context, server_context

NOW = datetime.now(UTC)
NAMES = ("metallb-webhook-service.metallb-system.svc", "metallb-webhook-service.metallb-system.svc.cluster.local")
FIELDS = ("ca.crt", "ca.key", "tls.crt", "tls.key")


def made(now: datetime = NOW) -> Credentials:
    return mend({}, dns_names=NAMES, now=now)[0]


SOUND = made()


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let a client and a server of these contexts shake hands in memory. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_bundle_takes_the_serving_certificate(name: str) -> None:
    handshake(client_context(SOUND.ca_bundle), server_context(SOUND.serving), name)


def test_no_other_name_is_vouched_for() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(SOUND.ca_bundle), server_context(SOUND.serving), "kubernetes.default.svc")


def test_another_authority_is_not_trusted() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(made().ca_bundle), server_context(SOUND.serving), NAMES[0])


def test_keys_are_p256_and_the_authority_may_only_sign_leaves() -> None:
    for pem in (SOUND.ca_key, SOUND.serving.key):
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert isinstance(key.curve, ec.SECP256R1)
    authority = x509.load_pem_x509_certificate(SOUND.ca_bundle)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_private_keys_do_not_show_in_logs() -> None:
    assert "PRIVATE" not in repr(SOUND)


def test_sound_content_is_left_alone() -> None:
    assert mend(SOUND.secret_data(), dns_names=NAMES, now=NOW) == (SOUND, None)


def test_a_renewal_keeps_the_authority() -> None:
    later = NOW + SERVING_LIFETIME * 2 / 3 + timedelta(hours=1)
    renewed, why = mend(SOUND.secret_data(), dns_names=NAMES, now=later)
    assert (renewed.ca_bundle, renewed.ca_key) == (SOUND.ca_bundle, SOUND.ca_key)
    assert renewed.serving != SOUND.serving
    assert why is not None
    assert why.startswith("tls.crt: ends ")


def test_a_serving_certificate_never_outlives_its_authority() -> None:
    nearly_over = NOW + AUTHORITY_LIFETIME - timedelta(days=40)
    authority = new_authority(now=NOW)
    leaf = x509.load_pem_x509_certificate(issue(authority, dns_names=NAMES, now=nearly_over).certificate)
    root = x509.load_pem_x509_certificate(authority.certificate)
    assert leaf.not_valid_after_utc <= root.not_valid_after_utc


def test_a_missing_name_is_a_reason_to_renew() -> None:
    renewed, why = mend(SOUND.secret_data(), dns_names=(*NAMES, "localhost"), now=NOW)
    assert why == "tls.crt: not valid for localhost"
    assert renewed.ca_bundle == SOUND.ca_bundle


@pytest.mark.parametrize("field", ["tls.crt", "tls.key"])
def test_a_lost_serving_field_costs_only_the_serving_certificate(field: str) -> None:
    damaged = {name: value for name, value in SOUND.secret_data().items() if name != field}
    mended, why = mend(damaged, dns_names=NAMES, now=NOW)
    assert (mended.ca_bundle, mended.ca_key) == (SOUND.ca_bundle, SOUND.ca_key)
    assert why is not None


def test_a_serving_pair_of_another_authority_is_replaced() -> None:
    stranger = made().secret_data()
    mixed = {**SOUND.secret_data(), "tls.crt": stranger["tls.crt"], "tls.key": stranger["tls.key"]}
    mended, why = mend(mixed, dns_names=NAMES, now=NOW)
    assert mended.ca_key == SOUND.ca_key
    assert why == "tls.crt: not signed by any certificate of ca.crt"


def test_a_lost_authority_is_replaced_while_what_it_signed_stays_trusted() -> None:
    damaged = {**SOUND.secret_data(), "ca.key": ""}
    mended, why = mend(damaged, dns_names=NAMES, now=NOW)
    assert why == "ca.key: holds no unencrypted PEM private key"
    assert mended.ca_key != SOUND.ca_key
    handshake(client_context(mended.ca_bundle), server_context(SOUND.serving), NAMES[0])
    handshake(client_context(mended.ca_bundle), server_context(mended.serving), NAMES[0])


def test_what_is_in_use_is_written_again_when_the_secret_is_gone() -> None:
    assert mend({}, dns_names=NAMES, now=NOW, fallback=SOUND) == (SOUND, "holds nothing")


def test_a_second_trusted_certificate_in_the_bundle_is_kept() -> None:
    two = Credentials(ca_bundle=SOUND.ca_bundle + made().ca_bundle, ca_key=SOUND.ca_key, serving=SOUND.serving)
    assert mend(two.secret_data(), dns_names=NAMES, now=NOW) == (two, None)


@settings(deadline=None, max_examples=examples(60))
@given(st.dictionaries(st.sampled_from(FIELDS), st.binary(max_size=60) | st.sampled_from(FIELDS).map(str.encode)))
def test_any_damage_is_mended_and_mending_settles(damage: dict[str, bytes]) -> None:
    stored = dict(SOUND.secret_data())
    for field, value in damage.items():
        # A field's name as value stands for "another field's content": a mix-up instead of noise.
        name = value.decode(errors="replace")
        stored[field] = stored[name] if name in stored else base64.b64encode(value).decode()
    mended, _ = mend(stored, dns_names=NAMES, now=NOW)
    handshake(client_context(mended.ca_bundle), server_context(mended.serving), NAMES[0])
    assert mend(mended.secret_data(), dns_names=NAMES, now=NOW) == (mended, None)


def test_junk_in_the_bundle_goes_while_its_sound_certificates_stay() -> None:
    other = made()
    junk = SOUND.ca_bundle.replace(b"MII", b"AAA", 1)
    littered = Credentials(
        ca_bundle=SOUND.ca_bundle + other.ca_bundle + junk, ca_key=SOUND.ca_key, serving=SOUND.serving
    )
    mended, why = mend(littered.secret_data(), dns_names=NAMES, now=NOW)
    assert why is not None
    assert (mended.ca_key, mended.serving) == (SOUND.ca_key, SOUND.serving)
    handshake(client_context(mended.ca_bundle), server_context(SOUND.serving), NAMES[0])


@settings(deadline=None, max_examples=examples(60))
@example(field="ca.crt", position=109, noise=b"/")
@given(
    field=st.sampled_from(FIELDS),
    position=st.integers(min_value=0, max_value=600),
    noise=st.binary(min_size=1, max_size=3),
)
def test_any_flipped_bytes_are_mended(field: str, position: int, noise: bytes) -> None:
    stored = dict(SOUND.secret_data())
    content = bytearray(base64.b64decode(stored[field]))
    start = position % len(content)
    content[start : start + len(noise)] = noise
    stored[field] = base64.b64encode(content).decode()
    mended, _ = mend(stored, dns_names=NAMES, now=NOW)
    handshake(client_context(mended.ca_bundle), server_context(mended.serving), NAMES[0])
