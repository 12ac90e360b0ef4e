"""Edits of peers, advertisements, pools and Services: none of them may touch what it is not about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from allocator.kube.client import Object
from tests.lab.waiting import wait_until
from tests.soak.bgp.expectation import Scope
from tests.soak.bgp.objects import ServiceState
from tests.soak.bgp.place import CHURNED, PEERS, Place
from tests.soak.random_acts import RandomActs

_SERVICES = 8
_RESET_SECONDS = 150.0
"""Nodes reset sessions in turns."""


class Churn(RandomActs):
    """Edits one after the other."""

    def __init__(self, place: Place, *, seed: int, with_resets: bool) -> None:
        super().__init__("bgp-churn", chance=random.Random(seed), pause_seconds=(0.1, 1.2))
        self._place = place
        self._kinds = {**_HAPPENS, **(_RESETTING if with_resets else {})}

    def _act(self) -> None:
        kind = self.chance.choice([*self._kinds, *_OFTEN, *_OFTEN])
        if self._kinds[kind](self):
            self.counts[kind] += 1

    def _create_service(self) -> bool:
        pool = self.chance.choice([*self._place.state.pools])
        taken = self._place.state.pools[pool].services
        free = [number for number in range(3, _SERVICES) if f"{pool}-{number}" not in taken]
        if not free:
            return False
        number = self.chance.choice(free)
        both = self._place.addresses(pool, number)
        self._place.add_service(pool, number, self._service(self.chance.choice([both, both[:1], both[1:]])))
        return True

    def _change_service(self) -> bool:
        pool, name, service = self._a_service()
        if name:
            self._place.change_service(pool, name, self._service(service.addresses))
        return bool(name)

    def _delete_service(self) -> bool:
        pool, name, _ = self._a_service()
        if name:
            self._place.remove_service(pool, name)
        return bool(name)

    def _add_pool(self) -> bool:
        if CHURNED in self._place.state.pools:
            return False
        self._place.add_pool(CHURNED)
        return True

    def _remove_pool(self) -> bool:
        pool = self._place.state.pools.get(CHURNED)
        if pool is None:
            return False
        for name in pool.services:
            self._place.remove_service(CHURNED, name)
        self._place.remove_pool(CHURNED)
        return True

    def _select_nodes(self) -> bool:
        name = self._a_pool()
        chosen = self.chance.choice([None, *(frozenset(self._some(self._place.nodes)) for _ in range(3))])
        names = {"key": "kubernetes.io/hostname", "operator": "In", "values": sorted(chosen or ())}
        spec = {"nodeSelectors": None if chosen is None else [{"matchExpressions": [names]}]}
        self._place.change_advertisement(name, lambda pool: replace(pool, nodes=chosen), spec)
        return True

    def _select_peers(self) -> bool:
        name = self._a_pool()
        chosen = self.chance.choice([None, frozenset(self._some(tuple(PEERS)))])
        spec = {"peers": None if chosen is None else sorted(chosen)}
        self._place.change_advertisement(name, lambda pool: replace(pool, peers=chosen), spec)
        return True

    def _change_communities(self) -> bool:
        """No route may change of it."""
        name = self._a_pool()
        communities = [self._place.community(name), f"64501:{self.chance.randrange(100)}"]
        self._place.change_advertisement(name, lambda pool: pool, {"communities": communities})
        return True

    def _change_preferences(self) -> bool:
        name = self._a_pool()
        spec = {"med": self.chance.choice([None, 0, 50]), "asPathPrepend": self.chance.choice([None, 1, 3])}
        self._place.change_advertisement(name, lambda pool: pool, spec, preferences=True)
        return True

    def _edit_peer(self) -> bool:
        """No session may end of it: timers count from its next life on."""
        peer = self.chance.choice([*PEERS])
        spec: Object = self.chance.choice(
            [
                {"description": f"edited {self.chance.randrange(100)} times"},
                {"connectTime": f"{self.chance.choice([1, 2])}s"},
                {"holdTime": f"{self.chance.choice([9, 12])}s"},
            ]
        )
        self._place.change_peer(peer, spec)
        return True

    def _reset_peer(self) -> bool:
        """Its sessions get another family, or lose it: they end and come back, those of the other router do not."""
        name = self.chance.choice([*PEERS])
        router = PEERS[name]
        scope = self._place.of_router(router)
        dual = router in self._place.state.ipv4_only
        with self._place.expectation.befalling(scope):
            with self._place.edit(lambda state: replace(state, ipv4_only=state.ipv4_only ^ {router})):
                self._place.change_peer(name, {"dualStackAddressFamily": dual})
            # Turn by turn: a node's session may be up and not have ended yet.
            self._wait(lambda: self._place.families_agreed(router, ipv6=dual), f"the sessions of {name} are reset")
            self._wait_back(name, scope)
        return True

    def _shut_down_peer(self) -> bool:
        name = self.chance.choice([*PEERS])
        scope = self._place.of_router(PEERS[name])
        with self._place.expectation.befalling(scope):
            self._place.change_peer(name, {"shutdown": True})
            self._stopping.wait(self.chance.uniform(1, 4))
            self._place.change_peer(name, {"shutdown": None})
            self._wait_back(name, scope)
        return True

    def _wait_back(self, name: str, scope: Scope) -> None:
        self._wait(lambda: self._place.established(scope), f"the sessions of {name} are back")

    def _wait(self, until: Callable[[], bool], what: str) -> None:
        """Wait for routers, which may be restarted meanwhile."""
        wait_until(until, _RESET_SECONDS, what, interval_seconds=0.5, retry_on=(OSError, ValueError))

    def _service(self, addresses: tuple[str, ...]) -> ServiceState:
        every = frozenset(self._place.nodes)
        endpoints = self.chance.choice(
            [every, every, frozenset({self.chance.choice(self._place.nodes)}), frozenset[str]()]
        )
        return ServiceState(addresses, endpoints, local=self.chance.random() < 0.5)

    def _a_service(self) -> tuple[str, str, ServiceState]:
        """One of those that come and go; with an empty name if there is none."""
        found = [
            (pool, name, service)
            for pool, present in self._place.state.pools.items()
            for name, service in present.services.items()
            if pool == CHURNED or int(name.rpartition("-")[2]) >= 3
        ]
        return self.chance.choice(found) if found else ("", "", ServiceState((), frozenset()))

    def _a_pool(self) -> str:
        return self.chance.choice([*self._place.state.pools])

    def _some(self, names: tuple[str, ...]) -> list[str]:
        return self.chance.sample(names, self.chance.randint(1, len(names)))


_OFTEN = ("Service created", "Service changed", "Service deleted")
_HAPPENS: dict[str, Callable[[Churn], bool]] = {
    "Service created": Churn._create_service,
    "Service changed": Churn._change_service,
    "Service deleted": Churn._delete_service,
    "pool created": Churn._add_pool,
    "pool deleted": Churn._remove_pool,
    "advertisement to other nodes": Churn._select_nodes,
    "advertisement to other peers": Churn._select_peers,
    "advertisement with other communities": Churn._change_communities,
    "advertisement with other MED and path": Churn._change_preferences,
    "BGPPeer edited, sessions stay": Churn._edit_peer,
}
_RESETTING: dict[str, Callable[[Churn], bool]] = {
    "BGPPeer edited, its sessions reset": Churn._reset_peer,
    "BGPPeer shut down and not": Churn._shut_down_peer,
}
