"""The vty protocol against a server of our own: framing, deadlines, and what an answer says."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from speaker.bgp.vty import Judgement, Reply, Vty, VtyError

Serve = Callable[[Callable[[socket.socket], None]], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve one connection by a function, on a thread; `enable` has been answered."""
    path = tmp_path / "daemon.vty"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    threads: list[threading.Thread] = []

    def start(behave: Callable[[socket.socket], None]) -> Path:
        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(5)
                assert command_of(connection) == "enable"
                connection.sendall(b"\0\0\0\0")
                behave(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return path

    yield start
    listening.close()
    for thread in threads:
        thread.join(5)


def command_of(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\0"):
        received += connection.recv(1)
    return received[:-1].decode()


def test_answer_in_pieces_is_put_together(serve: Serve) -> None:
    def behave(connection: socket.socket) -> None:
        command_of(connection)
        for piece in (b"line one\nli", b"ne two\n", b"\0", b"\0", b"\0", b"\x0d"):
            connection.sendall(piece)
            time.sleep(0.01)
        command_of(connection)
        connection.sendall(b"\0\0\0\x00")

    vty = Vty(serve(behave))
    assert vty.run("show something") == Reply(13, "line one\nline two\n")
    assert vty.run("next") == Reply(0, "")


def test_two_commands_go_out_at_once_and_have_two_answers(serve: Serve) -> None:
    received: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        received.append(connection.recv(1000))
        connection.sendall(b"one\0\0\0\x00two\0\0\0\x01")

    assert Vty(serve(behave)).run_together("a", "b") == [Reply(0, "one"), Reply(1, "two")]
    assert received == [b"a\0b\0"]


def test_deadline_is_of_the_whole_call(serve: Serve) -> None:
    done = threading.Event()

    def behave(connection: socket.socket) -> None:
        command_of(connection)
        while not done.wait(0.02):
            connection.sendall(b"x")

    vty = Vty(serve(behave))
    started = time.monotonic()
    with pytest.raises(VtyError, match="in time"):
        vty.run("show forever", timeout_seconds=0.3)
    assert time.monotonic() - started < 3
    done.set()


def test_daemon_that_ends_is_an_error_and_is_seen_between_commands(serve: Serve) -> None:
    vty = Vty(serve(lambda connection: connection.close()))
    deadline = time.monotonic() + 5
    while not vty.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert vty.ended
    with pytest.raises(VtyError):
        vty.run("show version")


def test_connection_that_is_quiet_has_not_ended(serve: Serve) -> None:
    done = threading.Event()
    vty = Vty(serve(lambda _: assert_set(done)))
    assert not vty.ended
    done.set()


def assert_set(event: threading.Event) -> None:
    assert event.wait(5)


def test_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VtyError, match=r"none\.vty"):
        Vty(tmp_path / "none.vty")


@pytest.mark.parametrize("command", ["a\nb", "a\0b", "x" * 9000, "\ud800"])
def test_what_is_no_one_command_is_not_sent(serve: Serve, command: str) -> None:
    done = threading.Event()
    vty = Vty(serve(lambda _: assert_set(done)))
    with pytest.raises(ValueError, match="cannot be sent"):
        vty.run(command)
    done.set()


@pytest.mark.parametrize(
    ("reply", "judgement"),
    [
        (Reply(0, ""), Judgement.DONE),
        (Reply(1, "\n"), Judgement.UNSURE),
        # FRR lib/bfd.h: a name that is too long, and a remark that begins like an error.
        (Reply(0, "% Failed to edit configuration.\n"), Judgement.UNSURE),
        (Reply(0, "% Echo mode works correctly for IPv4\n"), Judgement.UNSURE),
        # Done all the same (MetalLB issue 2386).
        (Reply(13, "Graceful restart configuration changed, reset this peer to take effect\n"), Judgement.UNSURE),
        (Reply(2, "% Unknown command: x\n"), Judgement.REFUSED),
        (Reply(4, ""), Judgement.REFUSED),
    ],
)
def test_answers_are_judged_by_status_and_text(reply: Reply, judgement: Judgement) -> None:
    assert reply.judgement is judgement


def test_no_file_that_is_left_to_open_is_a_reason_like_any_other(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path("/dev/null").open() as lowest:
        first_free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        with pytest.raises(VtyError, match="Too many open files"):
            Vty(tmp_path / "daemon.vty")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
