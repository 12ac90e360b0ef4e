"""The release that a Pod of FRR leaves beside its sockets, and what else may be found there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.rendering import Rendering
from speaker.bgp import pod_release
from speaker.bgp.applying import Applying
from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.reports import Snapshot
from tests.unit.speaker.bgp.vty_daemons import vty_daemons


def test_what_is_written_is_read_also_over_what_another_release_left(tmp_path: Path) -> None:
    assert pod_release.read(tmp_path) == ""
    (tmp_path / "release").write_text("0.0")
    pod_release.write(tmp_path)
    assert pod_release.read(tmp_path) == pod_release.RELEASE


@pytest.mark.parametrize(
    "leave",
    [
        lambda path: path.write_bytes(b"0.1" * 10_000),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("0.1; rm"),
        lambda path: path.symlink_to("elsewhere"),
        Path.mkdir,
        os.mkfifo,
    ],
    ids=["long", "no text", "no number", "link", "folder", "pipe"],
)
def test_what_is_no_release_is_none(tmp_path: Path, leave: Callable[[Path], object]) -> None:
    (tmp_path / "elsewhere").write_text("0.1")
    leave(tmp_path / "release")
    assert pod_release.read(tmp_path) == ""


def test_speaker_that_connects_knows_it(tmp_path: Path) -> None:
    with vty_daemons(tmp_path) as daemons:
        (daemons.sockets / "release").write_text("7.3")
        reports = FrrReports()
        applying = Applying(Rendering(), daemons.sockets, report=reports.take, may_reset=lambda _: True)
        assert applying.connect()
        applying.close()
    assert reports.snapshot(Snapshot(node="node-1")).daemons[Daemon.BGPD].pod_release == "7.3"
