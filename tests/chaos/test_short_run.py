"""Half a minute of what `make chaos` does for five."""

from __future__ import annotations

import os

import pytest
from rich.console import Console

from tests.chaos.__main__ import show
from tests.chaos.run import Plan, run

SECONDS = float(os.environ.get("ADMITLB_CHAOS_SECONDS", "30"))
FIRST = ("both webhooks killed", "both reconcilers killed", "one webhook killed", "API server killed")


@pytest.mark.timeout(SECONDS + 400)
def test_fifty_clients_and_dying_components_double_move_and_leak_nothing() -> None:
    outcome = run(Plan(seconds=SECONDS, first=FIRST))
    show(outcome, Console(width=160))
    assert outcome.duplicates == []
    assert outcome.moves == []
    assert outcome.leaks == []
    assert outcome.surprises == []
    assert outcome.assigned > 0
    assert outcome.shared > 0, "nothing was shared, so sharing was not tested"
    assert outcome.misfortunes.keys() >= set(FIRST[:3]), "hardly anything died, so nothing was tested"
