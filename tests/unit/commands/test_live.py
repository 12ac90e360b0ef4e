"""What the commands for a live cluster say, in one line, where no cluster can be asked: exit code 2, no traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from allocator.cli import main

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {"token": "hunter2"}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
}
COMMANDS = (
    ["explain", "web"],
    ["pools"],
    ["doctor"],
    ["bgp"],
    ["bgp", "roll"],
    ["rebalance"],
    ["plan", "/dev/null", "--against-cluster"],
)


def with_cluster(**cluster: Any) -> bytes:
    return json.dumps({**CONFIG, "clusters": [{"name": "x", "cluster": cluster}]}).encode()


def run(words: list[str], kubeconfig: Path) -> tuple[int, list[str]]:
    done = CliRunner().invoke(main, words, env={"KUBECONFIG": str(kubeconfig), "ADMITLB_KUBECONFIG": str(kubeconfig)})
    assert isinstance(done.exception, SystemExit), done.exception
    assert "hunter2" not in done.output
    return done.exit_code, done.stderr.splitlines()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_api_server_that_does_not_answer(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(CONFIG))
    code, (line,) = run(words, file)
    assert code == 2
    assert re.fullmatch(
        r"Error: the API server does not answer: GET /\S+: 127\.0\.0\.1:1: Failed to establish a new connection: "
        r".*Connection refused; see whether kubectl reaches it",
        line,
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"text",
        b"\xff\xfe",
        b"\0",
        b"{a: [",
        b"[]",
        b"5",
        b"current-context: x\nclusters: 5\ncontexts: 5\nusers: 5\n",
        with_cluster(server=5),
        with_cluster(server="not a url"),
        with_cluster(server="https://127.0.0.1:99999"),
        with_cluster(server="https://127.0.0.1:1", **{"certificate-authority-data": "%"}),
        with_cluster(server="https://127.0.0.1:1", **{"certificate-authority-data": "bm9uZQ=="}),
        with_cluster(server="https://127.0.0.1:1", **{"certificate-authority": "/nonexistent"}),
        json.dumps({**CONFIG, "current-context": "y"}).encode(),
        json.dumps({**CONFIG, "users": 7}).encode(),
        json.dumps({**CONFIG, "contexts": [{"name": "x", "context": 7}]}).encode(),
    ],
)
@pytest.mark.parametrize("words", [["explain", "web"], ["pools"]], ids=" ".join)
def test_a_kubeconfig_that_is_none(words: list[str], text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_bytes(text)
    code, (line,) = run(words, file)
    assert code == 2
    assert line.startswith(("Error: no cluster to ask: ", "Error: the API server does not answer: "))
