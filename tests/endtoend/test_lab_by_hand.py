"""The lab by hand: one command starts it in the background, others use it, one ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import namespaces
from tests.lab.container import PROJECT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`python -m tests.lab`, as from a shell outside any lab, with a small lab up."""
    state = tmp_path_factory.mktemp("state")
    environment = {name: value for name, value in os.environ.items() if name != namespaces.INSIDE}
    environment["XDG_RUNTIME_DIR"] = str(state)

    def run(*words: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab", *words],
            cwd=PROJECT,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    assert "The lab is up: node-1, client-1" in run("up", "--nodes=1").stdout
    yield run
    if Path(state, f"admitlb-lab-{os.geteuid()}", "socket").exists():
        run("down")


def test_kubectl_works_from_outside_also_on_standard_input(by_hand: Run) -> None:
    assert by_hand("kubectl", "get", "nodes", "-o", "name").stdout == "node/node-1\n"
    document = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "by-hand"}}'
    assert by_hand("kubectl", "apply", "-f", "-", stdin=document).stdout == "configmap/by-hand created\n"


def test_commands_run_on_a_host_and_return_its_exit_code(by_hand: Run) -> None:
    assert "203.0.113.241" in by_hand("exec", "client-1", "ip", "-4", "address").stdout
    by_hand("exec", "client-1", "sh", "-c", "exit 7", code=7)


def test_a_node_is_killed_and_revived(by_hand: Run) -> None:
    by_hand("kill", "node-1")
    assert "node-1/kube-proxy" not in by_hand("status").stdout
    by_hand("revive", "node-1")
    assert "node-1/kube-proxy" in by_hand("status").stdout


def test_a_second_lab_and_an_unknown_node_are_refused_in_plain_words(by_hand: Run) -> None:
    assert "a lab is up already" in by_hand("up", code=1).stderr
    assert by_hand("kill", "node-9", code=1).stderr == "Error: no node node-9; there are node-1\n"


def test_down_ends_it_and_says_so_afterwards(by_hand: Run) -> None:
    by_hand("down")
    assert "no lab is up" in by_hand("status", code=1).stderr
