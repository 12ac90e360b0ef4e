"""What befalls a running installation: processes killed or frozen at any moment, one misfortune after another."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from allocator.kube.lease import LEASE_SECONDS
from tests.chaos.clients import Clients
from tests.chaos.pools import Pools
from tests.chaos.witness import Quotas
from tests.cluster.installation import Installation
from tests.lab.control_plane import API_SERVER
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

_NOTICE_SECONDS = 20
"""An installation whose parts do not notice a restore goes on with what is no longer true."""


class Disturbances:
    """One thread that has something happen every few seconds, each kind before any kind a second time.

    `counts` and `failure` are written by that thread alone and read after `stop`.
    """

    def __init__(
        self,
        installation: Installation,
        clients: Clients,
        *,
        unwatched: Callable[[], AbstractContextManager[None]],
        quotas: Quotas,
        directory: Path,
        pause_seconds: tuple[float, float],
        seed: int,
        first: Sequence[str] = (),
    ) -> None:
        """`unwatched` is entered while no client asks for anything, for what makes untrue what was seen before.

        `quotas` is told when one is in force. Backups lie in `directory`. `first` comes before what the seed draws.
        """
        self._installation = installation
        self._unwatched = unwatched
        self._directory = directory
        self._backups = 0
        self._clients = clients
        self._pause_seconds = pause_seconds
        self._quotas = quotas
        self._chance = random.Random(seed)
        self._first = tuple(first)
        self._pools = Pools(installation.cluster)
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="disturbances", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End with everything running again. Raises what kept a process from coming back."""
        self._stopping.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure
        self._revive()
        for replica in self._installation.webhooks:
            replica.wait_ready(60)

    def _run(self) -> None:
        kinds: dict[str, Callable[[], None]] = {
            "one webhook killed": lambda: self._kill_webhooks([self._chance.randrange(2)]),
            "one reconciler killed": lambda: self._kill_reconcilers([self._chance.randrange(2)]),
            "both webhooks killed": lambda: self._kill_webhooks([0, 1]),
            "both reconcilers killed": lambda: self._kill_reconcilers([0, 1]),
            "a webhook frozen": self._freeze_webhook,
            "a reconciler frozen past its lease": self._freeze_reconciler,
            "API server killed": self._kill_api_server,
            "API server frozen": self._freeze_api_server,
            "pool split and joined": self._split_pool,
            "pool renamed": self._rename_pool,
            "quota set and lifted": self._change_quota,
            "etcd restored in place": self._restore_etcd,
        }
        due = list(reversed(self._first))
        try:
            while not self._stopping.wait(self._chance.uniform(*self._pause_seconds)):
                if not due:
                    due = list(kinds)
                    self._chance.shuffle(due)
                kind = due.pop()
                kinds[kind]()
                self.counts[kind] += 1
                self._revive()
        except BaseException as error:  # told to whoever stops it
            self.failure = error

    def _revive(self) -> None:
        """Start reconcilers again that ended, as they do on losing the lease; a webhook never ends by itself."""
        for replica in self._installation.webhooks:
            if not replica.process.alive:
                raise AssertionError(f"{replica.name} ended by itself:\n{replica.process.log_tail()}")
        for number, process in enumerate(self._installation.reconcilers):
            if not process.alive:
                self.counts["reconciler ended by itself, restarted"] += 1
                self._installation.restart_reconciler(number)

    def _kill_webhooks(self, numbers: list[int]) -> None:
        for number in numbers:
            self._installation.webhooks[number].process.sigkill()
        self._wait(0, 2)
        for number in numbers:
            self._installation.webhooks[number].restart()

    def _kill_reconcilers(self, numbers: list[int]) -> None:
        for number in numbers:
            self._installation.reconcilers[number].sigkill()
        self._wait(0, 2)
        for number in numbers:
            self._installation.restart_reconciler(number)

    def _freeze_webhook(self) -> None:
        self._freeze(self._chance.choice(self._installation.webhooks).process, 1, 4)

    def _freeze_reconciler(self) -> None:
        self._freeze(self._chance.choice(self._installation.reconcilers), LEASE_SECONDS + 1, LEASE_SECONDS + 3)

    def _freeze(self, process: Process, least_seconds: float, most_seconds: float) -> None:
        process.sigstop()
        self._wait(least_seconds, most_seconds)
        process.sigcont()

    def _kill_api_server(self) -> None:
        self._installation.control_plane.kill(API_SERVER)
        self._wait(0, 1)
        # An API server (of 1.20 at least) falls at its start when somebody creates Services meanwhile: its first
        # check of clusterIPs then meets a version it has not read.
        with self._clients.held():
            self._installation.control_plane.start_api()

    def _freeze_api_server(self) -> None:
        self._installation.control_plane.pause_api()
        self._wait(1, 4)
        self._installation.control_plane.resume_api()

    def _split_pool(self) -> None:
        """Narrow the pool, give the rest to a second one, and take it back; nobody may lose an address by it."""
        self._pools.narrow()
        self._pools.add("chaos-upper", self._pools.upper)
        self._wait(0.5, 2)
        self._pools.remove("chaos-upper")
        self._pools.widen()

    def _rename_pool(self) -> None:
        """Give the upper half one name after another."""
        self._pools.narrow()
        for name in ("chaos-old", "chaos-new"):
            self._pools.add(name, self._pools.upper)
            self._wait(0.2, 1)
            self._pools.remove(name)
        self._pools.widen()

    def _change_quota(self) -> None:
        with self._clients.under_quota():
            self._quotas.begin()
            self._pools.set_quota(str(self._chance.randrange(1, 30)))
            self._wait(1, 4)
            self._pools.set_quota(None)
            # Until every webhook has seen that it is gone.
            self._wait(2, 2)
            self._quotas.end()

    def _restore_etcd(self) -> None:
        """Take etcd back by some seconds; webhooks and reconcilers notice, end, and are started again."""
        control_plane = self._installation.control_plane
        self._backups += 1
        backup = self._directory / f"backup-{self._backups}"
        with self._clients.held():
            control_plane.back_up(backup)
        self._wait(3, 6)
        with self._clients.held(), self._unwatched():
            control_plane.restore(backup)
        replicas = self._installation.webhooks
        wait_until(lambda: not any(one.process.alive for one in replicas), _NOTICE_SECONDS, "each webhook notices")
        for replica in replicas:
            replica.restart()
        reconcilers = self._installation.reconcilers
        wait_until(lambda: not all(one.alive for one in reconcilers), _NOTICE_SECONDS, "the leader notices")

    def _wait(self, least_seconds: float, most_seconds: float) -> None:
        # Not on `_stopping`: whatever is broken is made whole before the end.
        threading.Event().wait(self._chance.uniform(least_seconds, most_seconds))
