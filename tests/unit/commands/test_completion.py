"""Completion in shells and in kubectl."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from allocator.cli import main
from allocator.commands.kubectl_plugin import completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_us(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ADMITLB_COMPLETE={shell}_complete" in result.stdout


def test_kubectl_is_told_commands_and_options_in_its_own_protocol() -> None:
    values = [line.split("\t")[0] for line in completions(["p"])]
    assert values == ["plan", "pools", ":4"]
    assert "--cluster-families" in [line.split("\t")[0] for line in completions(["plan", "--cl"])]
    assert completions(["lint", ""]) == [":0"], "the shell completes files"


def test_without_a_cluster_nothing_is_offered_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert completions(["explain", "prod/"]) == [":4"]
