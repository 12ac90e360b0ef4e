"""Why FRR's sockets cannot be used, in words that name the remedy."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from speaker.bgp.socket_folder import problem

NOBODY = 65534


def as_nobody(work: Callable[[], str]) -> str:
    """Return what `work` says in a process without privileges and groups; where there are none, it is one already."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "frr" in problem(tmp_path / "metallb-system" / "bgpd.vty")


def test_folder_of_another_group_is_named_with_both_groups_and_the_remedy() -> None:
    # Not in pytest's folder, which nobody else may enter.
    with TemporaryDirectory(prefix="frr-") as made:
        Path(made).chmod(0o755)
        sockets = Path(made) / "sockets"
        sockets.mkdir(mode=0o000)
        said = as_nobody(lambda: problem(sockets / "bgpd.vty"))
        assert f"of the group {sockets.stat().st_gid}" in said
        assert "supplementalGroups" in said
        sockets.chmod(0o700)


def test_socket_that_may_be_used_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "bgpd.vty"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert problem(path) == ""
