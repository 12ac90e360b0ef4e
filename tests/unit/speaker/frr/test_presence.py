"""Who is connected to bgpd, and whether another FRR is on the node, as the kernel lists it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from speaker.frr import unix_sockets
from speaker.frr.presence import SpeakerPresence, connections, other_frr
from speaker.frr.unix_sockets import UnixSocket, read_sockets, rows

SOCKETS = Path("/run/admitlb/metallb-system")
HEAD = "Num       RefCount Protocol Flags    Type St Inode Path"
CONNECTION = "00000000ee4a51a6: 00000003 00000000 00000000 0001 03 {inode} {path}"
BGPD = str(SOCKETS / "bgpd.vty")


def connected(inode: int, path: str = BGPD) -> UnixSocket:
    return UnixSocket(inode, path, listening=False)


def listening(path: str) -> UnixSocket:
    return UnixSocket(1, path, listening=True)


@pytest.fixture(params=["netlink", "proc"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[UnixSocket]]:
    """Both ways to the kernel's list."""
    if request.param == "proc":

        def missing() -> list[UnixSocket]:
            raise OSError(errno.ENOENT, "no unix_diag")

        monkeypatch.setattr(unix_sockets, "_asked", missing)
    return read_sockets


def test_the_kernel_shows_a_connection_by_the_listeners_path_for_as_long_as_it_lasts(
    read: Callable[[], list[UnixSocket]], tmp_path: Path
) -> None:
    path = tmp_path / "with a blank.vty"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        before = connections(read(), path, None)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            with listener.accept()[0] as accepted:
                inode = os.fstat(accepted.fileno()).st_ino
                during = connections(read(), path, None)
                of_us = connections(read(), path, {inode})
                of_others = connections(read(), path, {1})
        after = connections(read(), path, None)

    assert [set(each) for each in (before, during, of_us, of_others, after)] == [
        set(),
        {inode},
        {inode},
        set(),
        set(),
    ]


def test_a_connection_seen_twice_is_a_speaker() -> None:
    presence = SpeakerPresence(0.0)

    assert presence.look(frozenset({7}), 10.0) is False
    assert presence.look(frozenset({7}), 12.0) is True
    assert presence.since == 12.0


def test_questions_that_come_and_go_are_no_speaker() -> None:
    presence = SpeakerPresence(0.0)

    looks = [presence.look(frozenset({inode}), float(inode)) for inode in range(1, 50)]

    assert not any(looks)
    assert presence.since == 0.0


def test_what_is_connected_to_another_daemon_installation_or_process_is_no_speaker() -> None:
    others = [
        connected(1, f"{SOCKETS}/bfdd.vty"),
        connected(2, "/run/admitlb/other/bgpd.vty"),
        connected(3, "/run/x"),
    ]
    assert connections(others, SOCKETS / "bgpd.vty", None) == set()
    of_another_file_system = [connected(4), listening(BGPD)]
    assert connections(of_another_file_system, SOCKETS / "bgpd.vty", {9}) == set()


def test_another_frr_is_known_by_where_it_listens() -> None:
    found = [
        listening("/var/run/frr/zserv.api"),
        listening("/run/frr/bgpd.vty"),
        listening(f"{SOCKETS}/bgpd.vty"),
        listening(f"{SOCKETS}/zserv.api"),
        listening("/run/containerd/containerd.sock"),
        connected(9, "/run/frr/bgpd.vty"),
    ]

    assert other_frr(found, SOCKETS) == ["/run/frr/bgpd.vty", "/var/run/frr/zserv.api"]


def test_an_frr_that_has_ended_is_none_whatever_it_left_in_the_file_system(
    read: Callable[[], list[UnixSocket]], tmp_path: Path
) -> None:
    path = tmp_path / "zserv.api"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert str(path) in other_frr(read(), SOCKETS)

    assert path.is_socket()
    assert str(path) not in other_frr(read(), SOCKETS)


def test_no_name_that_a_program_gives_its_socket_keeps_ours_from_being_seen(
    read: Callable[[], list[UnixSocket]], tmp_path: Path
) -> None:
    path = tmp_path / "bgpd.vty"
    unique = os.urandom(8).hex().encode()
    names = (b"\xff\xfe", b"\n", b"\n1 2 3 zz 5 6 7 8 9", b"\r\x0b\x1c\xe2\x80\xa8\x85", b"\na: b c d e f g h i\n")
    with ExitStack() as opened:
        for name in names:
            listen(opened, b"\0" + unique + name)
        listener = listen(opened, str(path))
        client = opened.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        opened.enter_context(listener.accept()[0])
        found = read()

    assert len(connections(found, path, None)) == 1
    assert str(path) in other_frr(found, SOCKETS)


def test_no_name_that_a_program_gives_its_socket_is_another_socket() -> None:
    """/proc/net/unix has the second one as a row of its own after a line break."""
    path = f"/run/{os.urandom(4).hex()}/zserv.api"
    row = f"00000000ee4a51a5: 00000002 00000000 00010000 0001 01 1 {path}"
    with ExitStack() as opened:
        listen(opened, b"\0" + path.encode())
        listen(opened, b"\0\n" + row.encode())
        found = read_sockets()

    assert path not in {each.path for each in found}


def listen(opened: ExitStack, name: str | bytes) -> socket.socket:
    listener = opened.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(name)
    listener.listen()
    return listener


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
    table = "\n".join([HEAD, line.format(path=path), CONNECTION.format(inode=8, path=path)])
    assert connections(rows(table), path, None) == {8}
