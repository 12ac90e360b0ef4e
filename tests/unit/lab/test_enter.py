"""Entering the lab's namespaces, where the machine forbids it: everything that is missing is said at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.container import PROJECT
from tests.lab.enter import CANNOT
from tests.lab.namespaces import INSIDE, NotInside, require_inside


def enter(path: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != INSIDE} | {"PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "tests.lab.enter", *command],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_refused_namespace_is_reported_with_its_remedy(tmp_path: Path) -> None:
    program(tmp_path, "unshare", "echo 'unshare: Operation not permitted' >&2; exit 1")
    done = enter(f"{tmp_path}:{os.environ['PATH']}", "--", "true")
    assert done.returncode == CANNOT
    assert "new namespaces are refused (unshare: Operation not permitted)" in done.stderr
    assert "--privileged" in done.stderr or "user namespaces" in done.stderr


def test_everything_a_kernel_lacks_is_reported_together(tmp_path: Path) -> None:
    # Like a kernel with namespaces but without veth and NAT: only `true` and what is not named below succeeds.
    program(
        tmp_path,
        "unshare",
        'case "$*" in *"-- "*|*--init*|*veth*|*tables*) echo "not here" >&2; exit 1;; *) exit 0;; esac',
    )
    done = enter(f"{tmp_path}:{os.environ['PATH']}", "--", "true")
    assert done.returncode == CANNOT
    for what in ("a veth pair", "iptables NAT", "ip6tables NAT"):
        assert f"{what} cannot be made (not here)" in done.stderr
    assert "a bridge cannot" not in done.stderr


def test_without_a_command_it_says_how_it_is_used() -> None:
    done = enter(os.environ["PATH"])
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_the_lab_refuses_to_run_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSIDE, raising=False)
    with pytest.raises(NotInside, match=r"tests\.lab\.enter"):
        require_inside()
