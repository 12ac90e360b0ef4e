"""Admission paths with tokens on a real API server: whom they keep out, and that nothing else ever waits for them."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    WEBHOOK_CERTIFICATE_SECRET,
    WEBHOOK_CONFIGURATION,
)
from tests.cluster.admissions import Admissions
from tests.cluster.installation import OVERLAY, pool, service
from tests.cluster.webhook_replica import (
    LegacyReplica,
    Replica,
    mark_adopted,
    path_to,
    route_webhook_service,
    wait_endpoints,
)
from tests.lab.audit import AuditLog
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from tests.unit.webhook.reviews import review
from webhook.path_token import FORMER_FIELD, PATH_SECRET_FIELD, path_with_token
from webhook.routes import ROUTES, SERVICES, path_of, route_of

CONFIGURATIONS = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
NEW_FILE = str(Path(__file__).parents[2] / "manifests" / "webhook-configuration.yaml")
LEGACY_FILE = str(Path(__file__).with_name("legacy") / "webhook-configuration.yaml")
FIRST_PORT, SECOND_PORT, THIRD_PORT, FOURTH_PORT = 22443, 22543, 22643, 22743
SETTLE_SECONDS = 2.0
OPTIONS = (
    f"--certificate-settle-seconds={SETTLE_SECONDS}",
    "--drain-seconds=5",
    # No reconciler runs that would bind what is reserved.
    "--max-unbound-reservations=100000",
)
CONTROLLER = f"system:serviceaccount:{DEFAULT_NAMESPACE}:controller"
CLIENTS = 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("paths")
    with ControlPlane(find(), directory, audited_users=[CONTROLLER]) as control_plane:
        control_plane.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(control_plane)
        mark_adopted(control_plane)
        yield control_plane


@pytest.fixture
def cluster(installed: ControlPlane) -> Cluster:
    return installed.cluster()


class Replicas:
    """What runs now, by port; gone after the test."""

    def __init__(self, control_plane: ControlPlane, directory: Path) -> None:
        self._control_plane = control_plane
        self._directory = directory
        self.running: dict[int, Replica] = {}

    def add(self, kind: type[Replica], port: int) -> Replica:
        """Start one as a rollout does: its pod has an address at once and is Ready when its probe says so."""
        name = f"{kind.__name__.lower()}-{port}"
        replica = kind(self._control_plane, self._directory, name=name, port=port, options=OPTIONS)
        self.running[port] = replica
        replica.publish(ready=False)
        replica.wait_ready()
        replica.take_part(True)
        wait_endpoints(self._control_plane, set(self.running))
        return replica

    def remove(self, port: int) -> None:
        """End one as a rollout does: no endpoint any more, while it still answers what comes."""
        replica = self.running.pop(port)
        os.kill(replica.process.pid, signal.SIGTERM)
        replica.withdraw()
        replica.process.wait(30)

    def stop(self) -> None:
        for replica in self.running.values():
            replica.stop()
            replica.withdraw()


@pytest.fixture
def replicas(installed: ControlPlane, tmp_path: Path) -> Iterator[Replicas]:
    replicas = Replicas(installed, tmp_path)
    yield replicas
    replicas.stop()


@pytest.fixture(scope="class")
def pair(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas of this release, registered and asked by the API server, for all tests of a class."""
    replicas = Replicas(installed, tmp_path_factory.mktemp("pair"))
    yield start_pair(installed, replicas)
    replicas.stop()


def start_pair(installed: ControlPlane, replicas: Replicas) -> tuple[Replica, Replica]:
    cluster = installed.cluster()
    installed.kubectl("apply", "-f", NEW_FILE)
    first, second = replicas.add(Replica, FIRST_PORT), replicas.add(Replica, SECOND_PORT)
    wait_until(lambda: registered_with(cluster) == {"token"}, 20, "tokens are registered")
    wait_asked(cluster)
    return first, second


def entries(cluster: Cluster) -> list[Object]:
    """Every entry of both configurations."""
    return [entry for kind in CONFIGURATIONS for entry in cluster.get(kind, WEBHOOK_CONFIGURATION)["webhooks"]]


def registered_with(cluster: Cluster) -> set[str]:
    """What the paths of our entries are: a `token` that is in force, `bare`, `none`, or of something `else`."""
    found = set()
    for entry in entries(cluster):
        path, route = path_of(entry), route_of(entry)
        assert route is not None
        if path is None or path == route:
            found.add("none" if path is None else "bare")
        else:
            found.add("token" if path == path_to(cluster, route) else "else")
    return found


def in_order(cluster: Cluster) -> bool:
    """Whether every entry has a token that is in force, and the authority's caBundle."""
    try:
        trusted = cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]["ca.crt"]
        bundles = {entry["clientConfig"].get("caBundle") for entry in entries(cluster)}
        return registered_with(cluster) == {"token"} and bundles == {trusted}
    except (ApiError, KeyError):  # no replica has made the secret yet
        return False


def wait_asked(cluster: Cluster) -> None:
    def refused() -> bool:
        try:
            cluster.create(IP_ADDRESS_POOLS, pool("probe", "nonsense"), DEFAULT_NAMESPACE, dry_run=True)
        except ApiError as error:
            return "nonsense" in error.message
        return False

    wait_until(refused, 20, "the API server asks the webhook")


def trust(cluster: Cluster) -> bytes:
    return base64.b64decode(cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]["ca.crt"])


def creation(name: str) -> bytes:
    wanted = service(name)
    return json.dumps(review(name=name, namespace="default", object=wanted, oldObject=None)).encode()


def wrong_paths(cluster: Cluster) -> list[str]:
    """No token, that of another route, of another secret, and one that is nearly right."""
    own = path_to(cluster, SERVICES)
    others = [path_to(cluster, route).rpartition("/")[2] for route in ROUTES if route != SERVICES]
    return [
        "/",
        SERVICES,
        *(f"{SERVICES}/{token}" for token in others),
        path_with_token(b"x" * 64, SERVICES),
        own[:-1] + ("0" if own[-1] != "0" else "1"),
        f"{own}/",
    ]


def secret_has(cluster: Cluster, field: str) -> bool:
    data = cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE).get("data") or {}
    return bool(data.get(field))


@pytest.mark.usefixtures("pair")
class TestOnePair:
    """What stops no process; a new secret comes last."""

    def test_without_the_token_nothing_is_decided_written_or_read(
        self, installed: ControlPlane, pair: tuple[Replica, Replica], cluster: Cluster
    ) -> None:
        cluster.create(IP_ADDRESS_POOLS, pool("open", "192.0.2.0/24"), DEFAULT_NAMESPACE)
        before = {item["metadata"]["name"] for item in cluster.list(IP_ALLOCATIONS)["items"]}
        for replica in pair:
            for path in wrong_paths(cluster):
                code, answer = replica.post(path, creation("forged"), trust=trust(cluster))
                assert (code, answer["code"]) == (403, 403), path
        asked = {
            request.path for request in AuditLog(installed.directory).requests(CONTROLLER) if request.verb == "create"
        }
        assert {item["metadata"]["name"] for item in cluster.list(IP_ALLOCATIONS)["items"]} == before
        assert "ipallocations" not in asked
        # The same review by the right path does all of that: the refusals were not for another reason.
        assert pair[0].post(path_to(cluster, SERVICES), creation("forged"), trust=trust(cluster))[0] == 200
        wait_until(
            lambda: len(cluster.list(IP_ALLOCATIONS)["items"]) > len(before), 5, "a claim is made with the token"
        )
        logs = "".join(replica.process.log.read_text() for replica in pair)
        assert logs
        assert [
            entry["name"] for entry in entries(cluster) if (path_of(entry) or "").rpartition("/")[2] in logs
        ] == []
        assert "Traceback" not in logs
        for item in cluster.list(IP_ALLOCATIONS)["items"]:
            cluster.delete(IP_ALLOCATIONS, item["metadata"]["name"])
        cluster.delete(IP_ADDRESS_POOLS, "open", DEFAULT_NAMESPACE)

    def test_a_failing_webhook_shows_a_path_that_opens_no_other(
        self, pair: tuple[Replica, Replica], cluster: Cluster
    ) -> None:
        """Why tokens differ by route: the API server tells the path to whoever may create pools."""
        leaked = next(path_of(entry) for entry in entries(cluster) if entry["name"] == "ipaddresspools.metallb.io")
        assert leaked is not None
        token = leaked.rpartition("/")[2]
        for route in ROUTES:
            if route not in leaked:
                assert pair[0].post(f"{route}/{token}", creation("forged"), trust=trust(cluster))[0] == 403

    @pytest.mark.parametrize(
        "commands",
        [
            [("delete", "-f"), ("apply", "-f")],
            [("delete", "-f"), ("create", "-f")],
            [("replace", "-f")],
            [("replace", "--force", "-f")],
            [("apply", "-f")],
            [("apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f")],
        ],
        ids=lambda commands: "-".join(command[0] for command in commands),
    )
    @pytest.mark.parametrize("which", ["new", "legacy then new"])
    def test_configurations_are_in_order_within_a_second_of_whatever_is_applied(
        self, installed: ControlPlane, cluster: Cluster, commands: list[tuple[str, ...]], which: str
    ) -> None:
        if which == "legacy then new":
            installed.kubectl("apply", "-f", LEGACY_FILE)
        for command in commands:
            installed.kubectl(*command, NEW_FILE)
        done = time.monotonic()
        wait_until(lambda: in_order(cluster), 10, "both configurations are in order", interval_seconds=0.02)
        took = time.monotonic() - done
        print(f"{took:.2f} s")
        assert took < 1
        wait_asked(cluster)
        # And that is the end of it: no two replicas write against each other.
        versions = [
            cluster.get(kind, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for kind in CONFIGURATIONS
        ]
        time.sleep(1)
        assert versions == [
            cluster.get(kind, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for kind in CONFIGURATIONS
        ]

    def test_a_key_taken_out_is_followed_without_one_failed_admission(
        self, installed: ControlPlane, pair: tuple[Replica, Replica], cluster: Cluster
    ) -> None:
        cluster.create(IP_ADDRESS_POOLS, pool("rotation", "10.1.0.0/16"), DEFAULT_NAMESPACE)
        before = path_to(cluster, SERVICES)
        with Admissions(installed.cluster, clients=CLIENTS, prefix="rotation") as load:
            wait_until(lambda: load.admitted > 10, 20, "admissions")
            # A null takes the key out.
            cluster.patch(SECRETS, WEBHOOK_CERTIFICATE_SECRET, {"data": {PATH_SECRET_FIELD: None}}, DEFAULT_NAMESPACE)
            wait_until(lambda: secret_has(cluster, PATH_SECRET_FIELD), 20, "a new secret")
            assert pair[0].post(before, creation("old"), trust=trust(cluster))[0] == 200
            wait_until(
                lambda: path_to(cluster, SERVICES) != before and in_order(cluster), 60, "the new path is registered"
            )
            wait_until(lambda: not secret_has(cluster, FORMER_FIELD), 60, "the former secret is dropped")
            reached = load.admitted
            wait_until(lambda: load.admitted > reached + 10, 20, "admissions by the new path")
        print(f"{load.admitted} admissions")
        assert (load.failures, load.unattended) == ([], [])
        for replica in pair:
            wait_until(
                lambda replica=replica: replica.post(before, creation("old"), trust=trust(cluster))[0] == 403,  # type: ignore[misc]
                20,
                "the former path is refused",
            )


@pytest.mark.timeout(240)
def test_upgrade_and_rollback_refuse_nothing_but_in_the_documented_gap(
    installed: ControlPlane, replicas: Replicas, cluster: Cluster
) -> None:
    """A rollout of this release over one whose paths are in Git, and back, while Services and pools are made."""
    # kubectl removes what it has applied itself: the entries that another tool has added would stay.
    installed.kubectl("apply", "-f", NEW_FILE)
    installed.kubectl("apply", "-f", LEGACY_FILE)
    replicas.add(LegacyReplica, FIRST_PORT)
    replicas.add(LegacyReplica, SECOND_PORT)
    assert registered_with(cluster) == {"bare"}
    wait_asked(cluster)
    cluster.create(IP_ADDRESS_POOLS, pool("upgrade", "10.2.0.0/16"), DEFAULT_NAMESPACE)
    with Admissions(installed.cluster, clients=CLIENTS, prefix="up") as load:
        wait_until(lambda: load.admitted > 10, 20, "admissions")
        assert load.failures == []
        # `kubectl apply -k`: the Deployment first, so that a new pod is starting when the paths go.
        starting = threading.Thread(target=replicas.add, args=(Replica, THIRD_PORT), name="starting")
        starting.start()
        installed.kubectl("apply", "-f", NEW_FILE)
        gap_began = time.monotonic()
        wait_until(lambda: registered_with(cluster) == {"bare"}, 30, "the first new replica writes the paths back")
        gap = time.monotonic() - gap_began
        starting.join(timeout=30)
        time.sleep(SETTLE_SECONDS)  # API servers learn of paths by watches of their own
        in_the_gap = len(load.failures), len(load.unattended)
        replicas.remove(FIRST_PORT)
        replicas.add(Replica, FOURTH_PORT)
        assert registered_with(cluster) == {"bare"}
        replicas.remove(SECOND_PORT)
        wait_until(lambda: in_order(cluster), 40, "tokens are registered once every replica knows them")
        reached = load.admitted
        wait_until(lambda: load.admitted > reached + 20, 20, "admissions by tokens")
        assert (len(load.failures), len(load.unattended)) == in_the_gap, load.failures[in_the_gap[0] :]

        # The way back.
        time.sleep(SETTLE_SECONDS)
        installed.kubectl("apply", "-f", LEGACY_FILE)
        replicas.add(LegacyReplica, FIRST_PORT)
        replicas.remove(THIRD_PORT)
        replicas.add(LegacyReplica, SECOND_PORT)
        replicas.remove(FOURTH_PORT)
        reached = load.admitted
        wait_until(lambda: load.admitted > reached + 20, 20, "admissions by the old release")
        assert registered_with(cluster) == {"bare"}
    print(
        f"{load.admitted} admissions; the gap took {gap:.1f} s, {in_the_gap[0]} refused, {in_the_gap[1]} unattended"
    )
    assert (len(load.failures), len(load.unattended)) == in_the_gap, load.failures[in_the_gap[0] :]


def test_a_replica_that_may_not_read_the_secret_is_not_ready(
    installed: ControlPlane, replicas: Replicas, tmp_path: Path
) -> None:
    role = installed.kubectl("get", "role", "controller", "-n", DEFAULT_NAMESPACE, "-o", "json").stdout
    narrowed = json.loads(role)
    narrowed["rules"] = [rule for rule in narrowed["rules"] if "secrets" not in rule["resources"]]
    installed.kubectl("replace", "-f", "-", stdin=json.dumps(narrowed))
    replica = Replica(installed, tmp_path, name="unable", port=THIRD_PORT, options=OPTIONS)
    try:
        replica.process.wait_until(
            lambda: "path secret: Secret metallb-system/metallb-webhook-cert: 403" in replica.readiness()[1],
            20,
            "it says what it cannot read",
            retry_on=(OSError,),
        )
        installed.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(installed)
        replica.wait_ready()
    finally:
        replica.stop()
        installed.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(installed)
