"""What `make release` is told about where images are pushed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from release.__main__ import main


@pytest.mark.parametrize(
    "text",
    ["registry.example.com/admitlb:1", "Team/AdmitLB", "https://registry.example.com/admitlb", "", "a b", "-x y"],
)
def test_what_is_no_repository_is_refused_before_anything_is_built(text: str) -> None:
    done = CliRunner().invoke(main, ["--repository", text, "--dry-run", "--out", "/nowhere/at/all"])
    assert done.exit_code == 2
    assert "is no repository; write it as registry.example.com/admitlb, without a tag" in done.output
