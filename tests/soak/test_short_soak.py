"""Half a minute of what `make soak` does for as long as one likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from tests.soak.__main__ import show
from tests.soak.run import Plan, run

SECONDS = float(os.environ.get("ADMITLB_SOAK_SECONDS", "30"))
PATIENCE = 2.0
"""Whoever runs all tests may have other things to do."""


@pytest.mark.timeout(SECONDS + 600)
def test_failing_nodes_and_networks_leave_every_address_answered_by_one(tmp_path: Path) -> None:
    outcome = run(Plan(seconds=SECONDS, directory=tmp_path, seed=7, patience=PATIENCE))
    show(outcome, Console(width=160))
    assert outcome.findings == []
    assert sum(outcome.misfortunes.values()) >= 3, "hardly anything happened, so nothing was tested"
    assert outcome.answers > 0
