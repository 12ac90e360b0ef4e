"""Everything of AdmitLB is restarted while people create Services, edit pools and use what is announced."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.cluster.admissions import Admissions
from tests.cluster.installation import ingress, remove, service
from tests.lab.lab import Lab
from tests.lab.pod_status import PODS
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS, DEPLOYMENTS

FROM_POOL = {"metallb.io/address-pool": "rollout"}
STANDING = tuple(f"standing-{number}" for number in range(5))
CLIENTS = 3
REQUESTS_PER_SECOND = 100.0
PATIENCE_SECONDS = 5.0
"""A busy machine loses a SYN now and then with nothing going on, and a client sends the next a second later."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    """An announced application, a large pool beside its own, and some Services from there that stay."""
    with speaker_site(lab) as site:
        site.create(
            IP_ADDRESS_POOLS,
            DEFAULT_NAMESPACE,
            "rollout",
            addresses=["10.77.0.0/16"],
            autoAssign=False,
            reuseDelaySeconds=0,
        )
        for name in STANDING:
            wait_until(partial(attended, site, name), 10, "admission knows the pool")
        wait_assigned(site, "web", *STANDING)
        yield site
        services = lab.cluster().list(SERVICES, "default")["items"]
        for name in [one["metadata"]["name"] for one in services]:
            if name.startswith(("standing-", "load-")):
                remove(lab.cluster(), "default", name)
        wait_until(lambda: not claims_of_the_pool(lab), 30, "their addresses are released")


def claims_of_the_pool(lab: Lab) -> list[str]:
    claims = lab.cluster().list(IP_ALLOCATIONS)["items"]
    return [claim["metadata"]["name"] for claim in claims if claim["spec"]["pool"] == "rollout"]


def attended(site: SpeakerSite, name: str) -> bool:
    """Create a Service; tell whether the webhook that was asked knows the pool."""
    remove(site.lab.cluster(), "default", name)
    made = site.lab.cluster().create(SERVICES, service(name, FROM_POOL), "default")
    return ASSIGNED_IPS_ANNOTATION in (made["metadata"].get("annotations") or {})


def addresses(site: SpeakerSite, *names: str) -> dict[str, list[str]]:
    """The addresses that the Services show."""
    return {name: ingress(site.lab.cluster().get(SERVICES, name, "default")) for name in names}


def wait_assigned(site: SpeakerSite, *names: str) -> None:
    wait_until(lambda: all(addresses(site, *names).values()), 20, "every Service has an address")


def pods(site: SpeakerSite) -> set[str]:
    """The uids of our Pods, those on their way out included."""
    found = site.lab.cluster().list(PODS, DEFAULT_NAMESPACE, label_selector="app=metallb")["items"]
    return {pod["metadata"]["uid"] for pod in found}


@pytest.mark.timeout(300)  # on a busy machine: the site is made and taken down within it
def test_a_rollout_fails_no_admission_and_no_request_and_moves_no_address(site: SpeakerSite) -> None:
    announcer, held, before = site.announcer(), addresses(site, "web", *STANDING), pods(site)
    lab = site.lab
    load = Admissions(lab.cluster, clients=CLIENTS, prefix="load", annotations=FROM_POOL)
    meter = lab.client().outage(
        site.url,
        rate_per_second=REQUESTS_PER_SECOND,
        connect_seconds=PATIENCE_SECONDS,
        read_seconds=PATIENCE_SECONDS,
    )
    with meter, load:
        site.let_it_run(0.5)
        lab.kubectl("rollout", "restart", "deployment/controller", "daemonset/speaker", "-n", DEFAULT_NAMESPACE)
        lab.wait_rolled_out(DEPLOYMENTS, "controller", timeout_seconds=100)
        lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=100)
        # The last Pods that were replaced still answer until they are sure that nobody asks.
        wait_until(lambda: not before & pods(site), 30, "every former Pod is gone")
        site.let_it_run(0.5)
    print(
        f"rollout: {load.admitted} admissions, {len(load.failures)} failed, {len(load.unattended)} unattended; "
        f"{meter.report.summary()}"
    )
    assert load.failures == []
    assert load.unattended == []
    assert load.admitted > 100
    assert meter.report.failures == ()
    assert meter.report.requests > 500
    assert addresses(site, "web", *STANDING) == held
    wait_assigned(site, *load.services)
    assert site.announcer() is announcer
