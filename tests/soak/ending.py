"""Whether all is well after the last misfortune, and whether anything is left once everything has stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

from allocator.kube.client import ApiError
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ALLOCATIONS, SERVICE_L2_STATUSES
from tests.lab.waiting import NeverHappened, wait_until
from tests.soak.place import CHURNED, STEADY, Place

_SETTLE_SECONDS = 30
_STATUS_SECONDS = 120
_GONE_SECONDS = 90
_ALL = tuple(address for pair in (*STEADY, *CHURNED) for address in pair)
_STAYING = tuple(address for pair in STEADY for address in pair)


class Ending:
    """Each check returns what is wrong, nothing if all is well; `took` are the seconds they waited."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.took: dict[str, float] = {}

    def settled(self) -> list[str]:
        """One node answers for each address that has a Service, none for the others, and statuses say which."""
        return [
            *self._within(_SETTLE_SECONDS, "each address is answered by one node, or none", self._answers_wrong),
            *self._within(_STATUS_SECONDS, "statuses name who announces", self._statuses_wrong),
        ]

    def withdrawn(self) -> list[str]:
        """Without Services there are no answers, no claims and no statuses."""
        for number in range(len(STEADY)):
            self._place.lab.cluster().delete(SERVICES, f"steady-{number}", "default")
        return [
            *self._within(_SETTLE_SECONDS, "nobody answers without a Service", lambda: self._answering(_ALL)),
            *self._within(_GONE_SECONDS, "no claim is left", lambda: self._names(IP_ALLOCATIONS, None)),
            *self._within(
                _GONE_SECONDS, "no status is left", lambda: self._names(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)
            ),
        ]

    def stopped(self) -> list[str]:
        """A speaker that has ended leaves nothing: no answers though there are Services, no address, no group."""
        for number, pair in enumerate(STEADY):
            self._place.create_service(f"steady-{number}", pair)
        wrong = self._within(_SETTLE_SECONDS, "each address is answered again", self._steady_wrong)
        self._place.lab.kubectl("delete", "daemonset/speaker", "-n", DEFAULT_NAMESPACE, "--wait=false")
        return [
            *wrong,
            *self._within(_SETTLE_SECONDS, "no speaker is left", self._speakers),
            *self._within(_SETTLE_SECONDS, "nobody answers without speakers", lambda: self._answering(_ALL)),
            *self._within(_SETTLE_SECONDS, "the kernels know of nothing", self._traces),
        ]

    def _within(self, seconds: float, what: str, wrong: Callable[[], list[str]]) -> list[str]:
        started = time.monotonic()
        last: list[str] = []

        def well() -> bool:
            last[:] = wrong()
            return not last

        try:
            wait_until(well, seconds, what, interval_seconds=0.2, retry_on=(ApiError,))
        except NeverHappened as never:
            return [f"{what}: not within {seconds:g} s: {'; '.join(last) or never}"]
        finally:
            self.took[what] = time.monotonic() - started
        return []

    def _holders(self, address: str) -> set[str]:
        by_mac = {node.mac("eth0"): node.name for node in self._place.lab.nodes.values()}
        answers = self._place.asking.who_has(address, listen_seconds=0.1)
        return {by_mac.get(mac, mac) for mac in answers}

    def _steady_wrong(self) -> list[str]:
        found = {address: self._holders(address) for address in _STAYING}
        return [f"{address} is answered by {sorted(by) or 'nobody'}" for address, by in found.items() if len(by) != 1]

    def _answers_wrong(self) -> list[str]:
        return self._steady_wrong() + self._answering(tuple(sorted(set(_ALL) - set(_STAYING))))

    def _answering(self, addresses: tuple[str, ...]) -> list[str]:
        found = {address: self._holders(address) for address in addresses}
        return [f"{address} is answered by {sorted(by)}" for address, by in found.items() if by]

    def _statuses_wrong(self) -> list[str]:
        wrong = []
        announced: dict[str, str] = {}
        for one in self._place.lab.cluster().list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)["items"]:
            status = one.get("status") or {}
            for address in status.get("addresses") or ():
                if address in announced:
                    wrong.append(f"{address} has statuses of {announced[address]} and {status.get('node')}")
                announced[address] = str(status.get("node"))
        for address in _STAYING:
            if {announced.get(address)} != (holders := self._holders(address)):
                wrong.append(f"{address} is answered by {sorted(holders)}, its status names {announced.get(address)}")
        return wrong

    def _names(self, resource: Resource, namespace: str | None) -> list[str]:
        listed = self._place.lab.cluster().list(resource, namespace)["items"]
        return [str(one["metadata"]["name"]) for one in listed]

    def _speakers(self) -> list[str]:
        return [name for name in self._place.lab.processes() if name.endswith("/speaker")]

    def _traces(self) -> list[str]:
        wrong = []
        for node in self._place.lab.nodes.values():
            held = {
                entry["local"] for link in node.host.ip_json("address", "show") for entry in link.get("addr_info", ())
            }
            wrong += [f"{node.name} has {address} on an interface" for address in sorted(held & set(_ALL))]
            groups = node.host.run("ip", "maddress", "show", "dev", "eth0").stdout
            for address in _ALL:
                group = f"33:33:ff:00:00:{address.rsplit(':', 1)[-1]}"
                if ":" in address and group in groups:
                    wrong.append(f"{node.name} is still in the group {group} of {address}")
        return wrong
