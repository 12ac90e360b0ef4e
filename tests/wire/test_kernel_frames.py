"""The codecs against what kernels themselves put on the wire."""

from __future__ import annotations

from pathlib import Path

from speaker.frames import ndp
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST, MalformedFrame, mac_bytes
from speaker.frames.ipv6 import ALL_NODES, UNSPECIFIED
from speaker.frames.ndp import Advertisement, Solicitation
from tests.lab.capture import ETH_P_ARP, ETH_P_IPV6, Capture
from tests.lab.network import Host
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.speaking import resolve, resolved_as


def neighbour_message(frame: bytes) -> Solicitation | Advertisement | None:
    try:
        return ndp.decode(frame)
    except MalformedFrame:
        return None


def test_arp_of_kernels_is_read_and_written_back_byte_for_byte(join: Join) -> None:
    one, two = join(one=["192.0.2.1/24"], two=["192.0.2.2/24"])
    with Capture(one, ethertype=ETH_P_ARP) as at_one, Capture(two, ethertype=ETH_P_ARP) as at_two:
        resolve(one, ["192.0.2.2"])
        resolved_as(one, "192.0.2.2", two.mac("eth0"))
        wait_until(lambda: at_one.frames and at_two.frames, 5, "both frames are captured")
    asked, answered = at_two.frames[0].data, at_one.frames[0].data
    for data, operation in ((asked, Operation.REQUEST), (answered, Operation.REPLY)):
        frame = ArpFrame.decode(data)
        assert frame.operation is operation
        assert frame.encode() == data.ljust(60, b"\x00")
    assert ArpFrame.decode(asked).destination == BROADCAST


def test_neighbour_messages_of_kernels_are_read_and_written_back_byte_for_byte(join: Join) -> None:
    one, two = join(one=["2001:db8::1/64"], two=["2001:db8::2/64"])
    keep = ETH_P_IPV6
    with Capture(one, ethertype=keep) as at_one, Capture(two, ethertype=keep) as at_two:
        resolve(one, ["2001:db8::2"])
        resolved_as(one, "2001:db8::2", two.mac("eth0"))
        asked = wait_until(lambda: _about(at_two, "2001:db8::2", Solicitation), 5, "the question is captured")
        answered = wait_until(lambda: _about(at_one, "2001:db8::2", Advertisement), 5, "the answer is captured")
    for data in (asked, answered):
        assert ndp.decode(data).encode() == data
    question, answer = ndp.decode(asked), ndp.decode(answered)
    assert isinstance(question, Solicitation)
    assert isinstance(answer, Advertisement)
    # The kernel that holds an address answers as we do for ours, but for the router flag of a router.
    assert ndp.reply_to(question, mac_bytes(two.mac("eth0"))) == answer


def test_a_kernels_probe_for_an_address_is_read_with_its_nonce_and_ours_differs_by_that_alone(join: Join) -> None:
    node, host = join(node=["2001:db8::1/64"], host=["2001:db8::2/64"])
    _detect_duplicates(host)
    with Capture(node, ethertype=ETH_P_IPV6) as capture:
        host.run_ip("address add 2001:db8::7/64 dev eth0")
        data = wait_until(lambda: _about(capture, "2001:db8::7", Solicitation), 5, "the probe is captured")
    theirs = ndp.decode(data)
    assert isinstance(theirs, Solicitation)
    assert (theirs.sender, theirs.link_address) == (UNSPECIFIED, None)
    assert theirs == ndp.probe(theirs.target, mac_bytes(host.mac("eth0")))


def test_a_kernel_tells_all_nodes_of_a_new_address_as_we_do(join: Join) -> None:
    node, host = join(node=["2001:db8::1/64"], host=["2001:db8::2/64"])
    host.call(lambda: Path("/proc/sys/net/ipv6/conf/eth0/ndisc_notify").write_text("1"))
    _detect_duplicates(host)
    with Capture(node, ethertype=ETH_P_IPV6) as capture:
        host.run_ip("address add 2001:db8::7/64 dev eth0")
        data = wait_until(lambda: _about(capture, "2001:db8::7", Advertisement), 10, "the word is captured")
    theirs = ndp.decode(data)
    assert isinstance(theirs, Advertisement)
    assert theirs.receiver == ALL_NODES
    assert theirs == ndp.unsolicited(theirs.target, mac_bytes(host.mac("eth0")))


def _about(capture: Capture, address: str, kind: type[Solicitation] | type[Advertisement]) -> bytes | None:
    for frame in capture.frames:
        message = neighbour_message(frame.data)
        if isinstance(message, kind) and str(message.target) == address:
            return frame.data
    return None


def _detect_duplicates(host: Host) -> None:
    for name in ("all", "eth0"):
        host.call(lambda name=name: Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("1"))  # type: ignore[misc]
