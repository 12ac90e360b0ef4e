"""One chaos run from beginning to end, and what came of it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from allocator.kube.client import ApiError, Cluster, NotFound
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.chaos.clients import NAMESPACE, Clients
from tests.chaos.disturbances import Disturbances
from tests.chaos.forger import Forger
from tests.chaos.pools import NAME, SIZE, Pools
from tests.chaos.settlement import disagreement
from tests.chaos.watch import Watch
from tests.cluster.installation import Installation, pool
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import NeverHappened, wait_until

_FIRST_PORT = 19943
_TENTATIVE_AGE_SECONDS = 20
"""Far less than the usual 90, and yet longer than a request may hang while the API server is frozen."""
_SETTLE_SECONDS = 90
_COLLECT_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, how many, how hard. The seed decides what is tried, not what happens: processes race."""

    seconds: float
    clients: int = 50
    patience_seconds: float = 0.8
    """The longest a client waits between two requests."""
    pause_seconds: tuple[float, float] = (1.0, 5.0)
    """Shortest and longest time between one misfortune and the next."""
    seed: int = 0
    first: tuple[str, ...] = ()
    """The misfortunes that come before those that the seed draws, in this order."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run; the first four must be empty."""

    duplicates: list[str] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    settled_after_seconds: float = 0.0
    collected_after_seconds: float = 0.0
    assigned: int = 0
    shared: int = 0
    moved_as_asked: int = 0
    gave_way: int = 0
    claim_versions: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    misfortunes: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing happened that may not."""
        return not (self.duplicates or self.moves or self.leaks or self.surprises)

    def figures(self) -> dict[str, object]:
        """All of it as JSON can hold it."""
        return asdict(self)


def run(plan: Plan, *, keep: Path | None = None) -> Outcome:
    """Set a cluster up, let chaos reign, and look whether all is well once it has ended.

    `keep` is where the logs of every process stay afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="admitlb-chaos-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        try:
            return _run_in(directory, plan)
        finally:
            if keep is not None:
                for log in directory.rglob("*.log"):
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(log, keep / log.name)


def _run_in(directory: Path, plan: Plan) -> Outcome:
    with ControlPlane(find(), directory / "control-plane") as control_plane:
        installation = Installation(
            control_plane, directory, first_port=_FIRST_PORT, tentative_age_seconds=_TENTATIVE_AGE_SECONDS
        )
        try:
            return _run(plan, control_plane, installation, directory)
        finally:
            installation.stop()


def _run(plan: Plan, control_plane: ControlPlane, installation: Installation, directory: Path) -> Outcome:
    outcome = Outcome()
    addresses = [f"192.0.2.{number}" for number in range(1, SIZE + 1)]
    spec = pool(NAME, Pools.lower, Pools.upper, reuseDelaySeconds=1)
    installation.cluster.create(IP_ADDRESS_POOLS, spec, DEFAULT_NAMESPACE)
    watch = Watch(lambda: _connection(control_plane))
    clients = Clients(
        _connection(control_plane, connections=plan.clients),
        count=plan.clients,
        pinnable=addresses[::7],
        patience_seconds=plan.patience_seconds,
        seed=plan.seed,
        ask_webhook=Forger(installation).ask,
    )
    disturbances = Disturbances(
        installation,
        clients,
        unwatched=watch.interrupted,
        quotas=watch.quotas,
        directory=directory,
        pause_seconds=plan.pause_seconds,
        seed=plan.seed,
        first=plan.first,
    )
    watch.begin()
    clients.start()
    disturbances.start()
    threading.Event().wait(plan.seconds)
    disturbances.stop()
    clients.stop()
    outcome.settled_after_seconds = _settle(installation, outcome)
    watch.end()
    outcome.collected_after_seconds = _collect(installation, outcome)
    outcome.duplicates += watch.duplicates
    outcome.moves += watch.moves
    outcome.surprises += clients.surprises
    outcome.assigned, outcome.shared = watch.assigned, watch.shared
    outcome.gave_way = watch.gave_way
    outcome.moved_as_asked, outcome.claim_versions = watch.moved_as_asked, watch.claim_versions
    outcome.requests = dict(clients.counts.most_common())
    outcome.misfortunes = dict(disturbances.counts.most_common())
    return outcome


def _settle(installation: Installation, outcome: Outcome) -> float:
    """Wait until everything agrees; what does not is a leak. Return the seconds it took."""
    started = time.monotonic()
    last = ["nothing looked at"]

    def settled() -> bool:
        last[0] = disagreement(installation, pool_size=SIZE)
        return not last[0]

    try:
        wait_until(settled, _SETTLE_SECONDS, "all agrees", interval_seconds=0.2, retry_on=(ApiError,))
    except NeverHappened:
        outcome.leaks.append(f"not settled after {_SETTLE_SECONDS} s: {last[0]}")
    return time.monotonic() - started


def _collect(installation: Installation, outcome: Outcome) -> float:
    """Delete every Service and wait until no claim is left. Return the seconds from the last deletion on."""
    names = [item["metadata"]["name"] for item in installation.cluster.list(SERVICES, NAMESPACE)["items"]]

    def delete(name: str) -> None:
        with suppress(NotFound):
            installation.cluster.delete(SERVICES, name, NAMESPACE)

    with ThreadPoolExecutor(4) as deleting:
        list(deleting.map(delete, [name for name in names if name != "kubernetes"]))
    started = time.monotonic()
    try:
        wait_until(lambda: not installation.claims(), _COLLECT_SECONDS, "no claim is left", interval_seconds=0.2)
    except NeverHappened:
        outcome.leaks += [f"left over: {address}: {spec}" for address, spec in installation.claims().items()]
    return time.monotonic() - started


def _connection(control_plane: ControlPlane, *, connections: int = 4) -> Cluster:
    return Cluster.from_environment(str(control_plane.kubeconfig()), connections=connections)
