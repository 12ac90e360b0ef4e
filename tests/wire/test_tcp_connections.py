"""A connection between link-local addresses is one of an interface, by which a peer there is found to be in use."""

from __future__ import annotations

import socket
from collections.abc import Callable

from allocator.bgp.inputs import Peer
from allocator.objects.bgp_peer import DynamicAsn
from speaker.bgp.peers_in_use import in_use
from tests.lab.network import Host
from tests.lab.waiting import wait_until

Join = Callable[..., tuple[Host, ...]]
PEER = Peer(name="tor", my_asn=64512, peer_asn=DynamicAsn.EXTERNAL, interface="eth0")


def link_local(host: Host) -> str:
    def found() -> list[str]:
        (interface,) = host.ip_json("-6", "address", "show", "dev", "eth0", "scope", "link", "-tentative")
        return [each["local"] for each in interface.get("addr_info", ())]

    return wait_until(found, 10.0, "eth0 has its link-local address")[0]


def test_unnumbered_session_of_another_program_is_found_while_it_lasts(join: Join) -> None:
    node, router = join(node=["192.0.2.1/24"], router=["192.0.2.2/24"])
    there = link_local(router)
    link_local(node)

    def listen() -> socket.socket:
        listening = socket.socket(socket.AF_INET6)
        listening.bind((there, 179, 0, socket.if_nametoindex("eth0")))
        listening.listen()
        return listening

    def dial() -> socket.socket:
        return socket.create_connection((f"{there}%eth0", 179), timeout=10)

    with router.call(listen), node.call(dial):
        assert node.call(lambda: in_use([PEER])) == {"tor"}
    assert node.call(lambda: in_use([PEER])) == frozenset()
