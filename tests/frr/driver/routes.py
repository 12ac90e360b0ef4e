"""What the two routers of the bed have, and what they were told."""

from __future__ import annotations

import time
from typing import Any

from tests.frr.driver.bed import Bed
from tests.lab.waiting import wait_until

SECONDS = 20.0


def at_bird(site: Bed) -> set[str]:
    """The addresses that BIRD has routes to."""
    lines = site.bird.ask("show route table master4 where source = RTS_BGP").splitlines()
    return {word.partition("/")[0] for line in lines for word in line.split() if word.endswith("/32")}


def at_router(site: Bed) -> set[str]:
    """The addresses that the FRR router has routes to."""
    return {prefix.partition("/")[0] for prefix in site.router_show("show bgp ipv4 unicast json").get("routes", {})}


def wait_for_routes(site: Bed, *addresses: str, seconds: float = SECONDS) -> None:
    """Wait until both routers have routes to exactly these."""
    wait_until(
        lambda: at_bird(site) == at_router(site) == set(addresses),
        seconds,
        f"both routers have routes to {', '.join(addresses) or 'nothing'}",
    )


def router_session(site: Bed) -> Any:
    """What the FRR router says of its session with the node."""
    return site.router_show("show bgp neighbors 10.0.2.1 json")["10.0.2.1"]


def messages(site: Bed) -> tuple[int, int, int]:
    """What BIRD and the FRR router have had from the node, but for keepalives: routes, UPDATEs, NOTIFICATIONs."""
    stats = router_session(site)["messageStats"]
    return site.bird.updates_received("node"), int(stats["updatesRecv"]), int(stats["notificationsRecv"])


def settled_messages(site: Bed) -> tuple[int, int, int]:
    """Return `messages` once nothing more comes.

    bgpd sends routes again, unchanged, a second after entries of their route-maps were made (`delay-timer`).
    """
    seen = messages(site)
    for _ in range(20):
        time.sleep(1.5)
        seen, before = messages(site), seen
        if seen == before:
            break
    return seen
