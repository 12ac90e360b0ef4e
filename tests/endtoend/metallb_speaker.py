"""`python -m tests.endtoend.metallb_speaker INTERFACE ADDRESS…`: a stand-in for MetalLB's speaker on one node.

It answers ARP requests for those of the addresses that MetalLB's rule gives to this node: the first of all nodes by
sha256 of "NODE#ADDRESS". Like MetalLB it adds no address to an interface, so the node keeps forwarding without it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from pathlib import Path

NODES = ("node-1", "node-2", "node-3")
_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2


def elected(address: str) -> str:
    """Return the node that announces the address."""
    return min(NODES, key=lambda node: hashlib.sha256(f"{node}#{address}".encode()).digest())


def main() -> None:
    """Answer until the end."""
    interface, *addresses = sys.argv[1:]
    ours = {socket.inet_aton(address) for address in addresses if elected(address) == os.environ["METALLB_NODE_NAME"]}
    mac = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as wire:
        wire.bind((interface, _ETH_P_ARP))
        while True:
            frame = wire.recv(2048)
            (operation,) = struct.unpack_from("!H", frame, 20)
            sender, asked = frame[22:32], frame[38:42]
            if operation == _REQUEST and asked in ours:
                header = sender[:6] + mac + struct.pack("!HHHBBH", _ETH_P_ARP, 1, 0x0800, 6, 4, _REPLY)
                wire.send(header + mac + asked + sender)


if __name__ == "__main__":
    main()
