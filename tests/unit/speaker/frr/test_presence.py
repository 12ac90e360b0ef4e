"""Who is connected to bgpd, and whether another FRR is on the node, read from /proc/net/unix."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from speaker.frr.presence import SpeakerPresence, connections, other_frr, read_table

SOCKETS = Path("/run/admitlb/metallb-system")
HEAD = "Num       RefCount Protocol Flags    Type St Inode Path"
LISTENER = "00000000ee4a51a5: 00000002 00000000 00010000 0001 01 {inode} {path}"
CONNECTION = "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 {inode} {path}"


def table(*lines: str) -> str:
    return "\n".join([HEAD, *lines]) + "\n"


def connected(inode: int, path: str = f"{SOCKETS}/bgpd.vty") -> str:
    return CONNECTION.format(inode=inode, path=path)


def listening(path: str) -> str:
    return LISTENER.format(inode=1, path=path)


def test_the_kernel_shows_a_connection_by_the_listeners_path_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    path = tmp_path / "with a blank.vty"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        before = connections(read_table(), path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            with listener.accept()[0]:
                during = connections(read_table(), path)
        after = connections(read_table(), path)

    assert (len(before), len(during), len(after)) == (0, 1, 0)


def test_a_connection_seen_twice_is_a_speaker() -> None:
    presence = SpeakerPresence(SOCKETS / "bgpd.vty", 0.0)

    assert presence.look(table(connected(7)), 10.0) is False
    assert presence.look(table(connected(7)), 12.0) is True
    assert presence.since == 12.0


def test_questions_that_come_and_go_are_no_speaker() -> None:
    presence = SpeakerPresence(SOCKETS / "bgpd.vty", 0.0)

    looks = [presence.look(table(connected(inode)), float(inode)) for inode in range(1, 50)]

    assert not any(looks)
    assert presence.since == 0.0


def test_what_is_connected_to_another_daemon_or_installation_is_no_speaker() -> None:
    presence = SpeakerPresence(SOCKETS / "bgpd.vty", 0.0)
    others = table(
        connected(1, f"{SOCKETS}/bfdd.vty"), connected(2, "/run/admitlb/other/bgpd.vty"), connected(3, "/run/x")
    )

    assert [presence.look(others, now) for now in (1.0, 2.0, 3.0)] == [False, False, False]


def test_another_frr_is_known_by_where_it_listens() -> None:
    found = table(
        listening("/var/run/frr/zserv.api"),
        listening("/run/frr/bgpd.vty"),
        listening(f"{SOCKETS}/bgpd.vty"),
        listening(f"{SOCKETS}/zserv.api"),
        listening("/run/containerd/containerd.sock"),
        listening("@/run/frr/abstract"),
        connected(9, "/run/frr/bgpd.vty"),
        "0000000000000000: 00000002 00000000 00000000 0002 01 12345",
    )

    assert other_frr(found, SOCKETS) == ["/run/frr/bgpd.vty", "/var/run/frr/zserv.api"]


def test_an_frr_that_has_ended_is_none_whatever_it_left_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "zserv.api"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert str(path) in other_frr(read_table(), SOCKETS)

    assert path.is_socket()
    assert str(path) not in other_frr(read_table(), SOCKETS)


def test_no_name_that_a_program_gives_its_socket_keeps_ours_from_being_seen(tmp_path: Path) -> None:
    path = tmp_path / "bgpd.vty"
    unique = os.urandom(8).hex().encode()
    names = (b"\xff\xfe", b"\n", b"\n1 2 3 zz 5 6 7 8 9", b"\r\x0b\x1c\xe2\x80\xa8\x85", b"\na: b c d e f g h i\n")
    with ExitStack() as opened:
        for name in names:
            hostile = opened.enter_context(socket.socket(socket.AF_UNIX))
            hostile.bind(b"\0" + unique + name)
            hostile.listen()
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
        client = opened.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        opened.enter_context(listener.accept()[0])
        read = read_table()

    assert len(connections(read, path)) == 1
    assert str(path) in other_frr(read, SOCKETS)


@pytest.mark.parametrize(
    "line",
    [
        "0: 1 2 zz 4 03 7 {path}",
        "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 seven {path}",
        "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 7 {path}x",
        "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 7 @{path}",
        "00000000ee4a51a6: 00000003 00000000 00010000 0001 03 7 {path}",
        "00000000ee4a51a6: 00000003 00000000 00010000 0001 01 7 {path}",
        "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 7 @x\r00000000ee4a51a6: 00000003 00000000 00000000 "
        "0001 03 7 {path}",
    ],
)
def test_a_row_that_is_none_or_not_of_a_connection_to_us_does_not_count(line: str) -> None:
    path = SOCKETS / "bgpd.vty"
    assert connections(table(line.format(path=path), connected(8)), path) == {"8"}
