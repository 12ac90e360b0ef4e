"""What is kept of Services for BGP: one value for the names of the same pools, nothing of what users write."""

from __future__ import annotations

from allocator.bgp import object_values
from allocator.bgp.object_values import service_value
from allocator.core.addresses import Address
from allocator.objects.announced_service import Service
from allocator.objects.endpoint_slice import Serving
from allocator.objects.pool import pool_from

VIP = Address.parse("192.0.2.1")
POOL = pool_from({"metadata": {"name": "lan"}, "spec": {"addresses": ["192.0.2.0/24"]}})


def service(address: Address, recorded: str) -> Service:
    return Service(
        key=("default", "web"),
        uid="u",
        addresses=(address,),
        recorded=((recorded,),),
        labels={},
        ports=frozenset(),
        local=False,
    )


def test_names_of_pools_are_kept_once_and_none_that_only_an_annotation_says() -> None:
    here = Serving(True, frozenset({"node-a"}))
    one, other = (service_value(service(VIP, "lan"), pools={"lan": POOL}, serving=here) for _ in range(2))
    assert one.addresses[VIP] is other.addresses[VIP]
    kept = object_values._shared.cache_info().currsize
    elsewhere = Address.parse("198.51.100.1")
    for number in range(10):
        found = service_value(service(elsewhere, f"gone-{number}"), pools={"lan": POOL}, serving=here)
        assert found.addresses[elsewhere] == (f"gone-{number}",)
    assert object_values._shared.cache_info().currsize <= kept + 1
