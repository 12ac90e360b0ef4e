"""How one authority follows another: who trusts what at every step, with replicas and API servers a step apart."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.webhook.test_certificates import NAMES, handshake
from webhook import pem
from webhook.certificates import Credentials, Lifetimes, mend
from webhook.tls import client_context, server_context

DUE = datetime.now(UTC) - timedelta(days=20)
"""So long ago that all which is made below is valid while the tests run: TLS goes by the real clock."""
LIFETIMES = Lifetimes(authority=timedelta(days=300), serving=timedelta(days=90), settle=timedelta(days=1))
BEGUN = DUE - timedelta(days=201)
"""Two thirds of an authority's life and a day before."""


def step(
    before: Credentials, now: datetime, *, settled: bool, lifetimes: Lifetimes = LIFETIMES
) -> tuple[Credentials, str | None]:
    return mend(before.secret_data(), dns_names=NAMES, now=now, lifetimes=lifetimes, settled=settled)


def made(now: datetime, lifetimes: Lifetimes = LIFETIMES) -> Credentials:
    return mend({}, dns_names=NAMES, now=now, lifetimes=lifetimes)[0]


def rested(before: Credentials, now: datetime) -> Credentials:
    """Let everything be renewed that is due while the authority stays."""
    renewed, _ = step(before, now, settled=False)
    assert renewed.ca_bundle == before.ca_bundle
    return renewed


@cache
def trusts(client: Credentials, server: Credentials) -> bool:
    try:
        handshake(client_context(client.ca_bundle), server_context(server.serving), NAMES[0])
    except ssl.SSLCertVerificationError:
        return False
    return True


@pytest.fixture(scope="module")
def old() -> Credentials:
    """Under an authority that is due, with a serving certificate that is not."""
    return rested(made(BEGUN), DUE - timedelta(days=10))


def test_an_authority_near_its_end_is_first_joined_by_another(old: Credentials) -> None:
    joined, why = step(old, DUE, settled=False)
    assert joined.serving == old.serving
    assert joined.ca_key != old.ca_key
    assert len(pem.anchors(joined.ca_bundle)) == 2
    assert old.ca_bundle in joined.ca_bundle
    assert why is not None
    assert why.startswith("ca.crt: ends ")


def test_the_new_authority_does_not_sign_before_it_is_trusted(old: Credentials) -> None:
    joined, _ = step(old, DUE, settled=False)
    assert step(joined, DUE + timedelta(days=10), settled=False) == (joined, None)


def test_the_new_authority_signs_once_it_is_trusted(old: Credentials) -> None:
    joined, _ = step(old, DUE, settled=False)
    moved, why = step(joined, DUE, settled=True)
    assert (moved.ca_bundle, moved.ca_key) == (joined.ca_bundle, joined.ca_key)
    assert moved.serving != old.serving
    assert not trusts(old, moved)
    assert why == "the new authority is trusted by now"


def test_the_old_authority_goes_once_nobody_serves_under_it(old: Credentials) -> None:
    moved, _ = step(step(old, DUE, settled=False)[0], DUE, settled=True)
    assert step(moved, DUE, settled=False) == (moved, None)
    done, why = step(moved, DUE, settled=True)
    assert done.serving == moved.serving
    assert done.ca_key == moved.ca_key
    assert not trusts(done, old)
    assert why == "nothing is served under the former authority any more"
    assert step(done, DUE, settled=True) == (done, None)


def test_who_is_one_step_behind_is_understood_at_every_step(old: Credentials) -> None:
    joined, _ = step(old, DUE, settled=False)
    moved, _ = step(joined, DUE, settled=True)
    done, _ = step(moved, DUE, settled=True)
    for before, after in ((old, joined), (joined, moved), (moved, done)):
        for api_server in (before, after):
            for replica in (before, after):
                assert trusts(api_server, replica)


def test_an_authority_that_is_lost_in_the_middle_breaks_nothing_that_is_served(old: Credentials) -> None:
    joined, _ = step(old, DUE, settled=False)
    damaged = {**joined.secret_data(), "ca.key": ""}
    mended, why = mend(damaged, dns_names=NAMES, now=DUE, lifetimes=LIFETIMES)
    assert why == "ca.key: holds no unencrypted PEM private key"
    assert mended.serving == old.serving
    assert trusts(mended, old)


def test_emptying_the_authoritys_key_asks_for_another_authority_though_replicas_still_have_the_key(
    old: Credentials,
) -> None:
    asked = {**old.secret_data(), "ca.key": ""}
    joined, _ = mend(asked, dns_names=NAMES, now=DUE, lifetimes=LIFETIMES, fallback=old)
    assert joined.ca_key != old.ca_key
    assert joined.serving == old.serving
    assert trusts(joined, old)


def test_an_authority_that_is_still_trusted_signs_again_where_the_secret_lost_all_that_verifies(
    old: Credentials,
) -> None:
    damaged = {**old.secret_data(), "ca.crt": "", "ca.key": ""}
    mended, _ = mend(damaged, dns_names=NAMES, now=DUE, lifetimes=LIFETIMES, fallback=old)
    assert mended == old


def test_a_secret_that_is_lost_in_the_middle_comes_back_whole(old: Credentials) -> None:
    joined, _ = step(old, DUE, settled=False)
    restored, _ = mend({}, dns_names=NAMES, now=DUE, lifetimes=LIFETIMES, fallback=joined)
    assert restored == joined


def test_an_authority_that_has_ended_is_replaced_at_once(old: Credentials) -> None:
    after = BEGUN + timedelta(days=301)
    replaced, _ = step(old, after, settled=False)
    (authority,) = pem.anchors(replaced.ca_bundle)
    assert authority.not_valid_after_utc > after
    assert pem.issued(x509.load_pem_x509_certificate(replaced.serving.certificate), by=authority)


@pytest.mark.parametrize(
    ("authority", "serving", "settle"),
    [(10, 11, 0.1), (10, 10, 1.1)],
)
def test_lifetimes_that_leave_no_time_to_hand_over_are_refused(
    authority: float, serving: float, settle: float
) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        Lifetimes(authority=timedelta(days=authority), serving=timedelta(days=serving), settle=timedelta(days=settle))


@dataclass(slots=True)
class Fleet:
    """Replicas that look at one Secret when they like, and API servers that hear of its bundle when they like.

    Time passes in quarters of `settle`; who has not looked for three of them looks now, so that `settle` is just long
    enough for everybody, which is all that is asked of it.
    """

    secret: Credentials
    replicas: list[Credentials]
    servers: list[Credentials]
    changed_at: datetime
    overdue: dict[int, int] = field(default_factory=dict)

    def tick(self, now: datetime, lookers: set[int]) -> None:
        settled = now - self.changed_at >= LIFETIMES.settle
        after, why = step(self.secret, now, settled=settled)
        if why is not None:
            self.secret, self.changed_at = after, now
        everybody = [self.replicas, self.servers]
        for number in range(len(self.replicas) + len(self.servers)):
            self.overdue[number] = self.overdue.get(number, 0) + 1
            if number in lookers or self.overdue[number] >= 3:
                group, index = divmod(number, len(self.replicas))
                everybody[group][index] = self.secret
                self.overdue[number] = 0


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sets(st.integers(min_value=0, max_value=3)), min_size=24, max_size=24))
def test_no_api_server_ever_meets_a_replica_it_does_not_trust(old: Credentials, looks: list[set[int]]) -> None:
    fleet = Fleet(secret=old, replicas=[old] * 2, servers=[old] * 2, changed_at=DUE)
    now = DUE
    for lookers in looks:
        now += LIFETIMES.settle / 4
        fleet.tick(now, lookers)
        for server in fleet.servers:
            for replica in fleet.replicas:
                assert trusts(server, replica)
    assert not trusts(fleet.secret, old), "the rotation has come to its end"
