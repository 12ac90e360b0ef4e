"""Every core computes all the time: no address moves, and a death is noticed all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bench.speaker_site import SpeakerSite
from tests.endtoend.holding import addresses, holders, holding_site, moved, settled
from tests.lab.lab import Lab

BURNERS_A_CORE = 4
BURNING_SECONDS = 20.0
"""A minute in the bench."""
TAKEN_OVER_SECONDS = 2.0


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    with holding_site(lab) as site:
        yield site


@contextmanager
def burning() -> Iterator[None]:
    """Have so many processes a core compute all the time, in a scheduling group of their own (sched_autogroup)."""
    burn = ("sh", "-c", "for _ in $(seq $0); do while :; do :; done & done; wait")
    count = BURNERS_A_CORE * (os.cpu_count() or 1)
    with subprocess.Popen([*burn, str(count)], start_new_session=True) as group:
        try:
            yield
        finally:
            os.killpg(group.pid, signal.SIGKILL)


def test_processes_that_compute_on_every_core_move_nothing_and_hide_no_death(site: SpeakerSite) -> None:
    before = settled(site)
    node = site.lab.nodes[before[addresses(site)[0]]]
    with burning():
        site.let_it_run(BURNING_SECONDS)
        assert moved(before, holders(site)) == []
        waiting = {address for address, name in before.items() if name == node.name}
        killed_at = node.kill()
        try:
            while waiting and time.monotonic() < killed_at + 5 * TAKEN_OVER_SECONDS:
                answers = site.asker.who_have(waiting, listen_seconds=0.05)
                waiting = {address for address in waiting if not answers[address]}
            taken_over_seconds = time.monotonic() - killed_at
        finally:
            node.revive()
    print(f"all addresses of {node.name} taken over after {taken_over_seconds:.2f} s, with every core burning")
    assert not waiting
    assert taken_over_seconds < TAKEN_OVER_SECONDS
    site.steady()
