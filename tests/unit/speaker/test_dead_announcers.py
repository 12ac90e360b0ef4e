"""How soon it is said that a node announces an address no more that nobody announces after it."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.addresses import Address
from speaker.status.absence import GONE_SECONDS, AbsentNodes
from speaker.status.backlog import Backlog
from speaker.status.report_state import Item, Order
from speaker.status.retries import Retries
from speaker.status.statement import Occupied

ITEM = Item(Order.ADDRESS, Address.parse("192.0.2.1"))


class Api:
    """A Lease that is not renewed."""

    def get(self, *_: Any) -> Any:
        return {"spec": {"holderIdentity": "node-b", "renewTime": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize("missed", [0.0, 0.4, 0.9])
def test_it_is_found_gone_soon_after_its_lease_counts_no_more(missed: float) -> None:
    now = missed
    api: Any = Api()
    backlog: Backlog[Item] = Backlog(order=lambda item: item.order, now=lambda: now)
    retries, absent = Retries(backlog), AbsentNodes(api, namespace="metallb-system", now=lambda: now)
    while not absent.is_gone("node-b"):
        now += retries.failed(ITEM, Occupied("node-b"))
    assert now - missed < GONE_SECONDS + 5.0


def test_what_the_api_server_was_away_for_does_not_count() -> None:
    now = 0.0
    api: Any = Api()
    absent = AbsentNodes(api, namespace="metallb-system", now=lambda: now)
    assert not absent.is_gone("node-b")
    now = 300.0
    assert not absent.is_gone("node-b"), "it could not renew"
    now += GONE_SECONDS
    absent.is_gone("node-b")
    now += GONE_SECONDS
    assert absent.is_gone("node-b")
