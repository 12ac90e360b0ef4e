"""Asking the LAN before answering: when, and with what outcome."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.layer2.probing import PROBE_SECONDS, PROBES, Probation

VIP, OTHER = Address.parse("192.0.2.100"), Address.parse("2001:db8::100")


def run(probation: Probation, until: float) -> tuple[list[float], list[float]]:
    """Return when probes and when verdicts came, everything done as soon as it is due."""
    probes, verdicts = [], []
    while (due := probation.next_timer()) is not None and due <= until:
        if probation.pop_probe(due):
            probes.append(due)
        verdicts += [due for _ in probation.pop_cleared(due)]
    return probes, verdicts


def test_an_address_nobody_claims_is_clear_after_three_probes_and_a_pause() -> None:
    probation = Probation()
    probation.begin(VIP, 5.0)
    probes, verdicts = run(probation, 100.0)
    assert probes == pytest.approx([5.0, 5.0 + PROBE_SECONDS, 5.0 + 2 * PROBE_SECONDS])
    assert verdicts == pytest.approx([5.0 + 3 * PROBE_SECONDS])
    assert probation.next_timer() is None


def test_a_new_address_is_delayed_by_no_more_than_a_tenth_of_a_second() -> None:
    assert PROBES * PROBE_SECONDS <= 0.1


@pytest.mark.parametrize("heard_after", [0.001, PROBE_SECONDS, 2.9 * PROBE_SECONDS])
def test_a_claim_at_any_time_before_the_verdict_starts_all_over_later(heard_after: float) -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    run(probation, heard_after)
    probation.put_off(VIP, 10.0)
    assert run(probation, 9.99) == ([], [])
    probes, verdicts = run(probation, 100.0)
    assert (probes[0], len(probes)) == (10.0, PROBES)
    assert verdicts == pytest.approx([10.0 + 3 * PROBE_SECONDS])


def test_a_claim_of_an_address_not_on_probation_puts_it_there() -> None:
    probation = Probation()
    probation.put_off(VIP, 10.0)
    assert [len(done) for done in run(probation, 100.0)] == [PROBES, 1]


def test_a_probe_that_had_to_wait_its_turn_has_its_full_time_to_be_answered() -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    for late in (7.0, 8.0, 9.0):
        assert probation.pop_probe(late) == VIP
    assert probation.pop_cleared(9.0 + PROBE_SECONDS / 2) == []
    assert probation.pop_cleared(9.0 + PROBE_SECONDS) == [VIP]


def test_an_ended_address_never_comes_up_again() -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    probation.begin(OTHER, 0.0)
    assert probation.pop_probe(0.0) == VIP
    probation.end(VIP)
    probation.end(OTHER)
    assert run(probation, 100.0) == ([], [])


@given(st.lists(st.floats(0, 0.2), max_size=200))
def test_however_many_claims_there_are_nothing_piles_up_and_only_silence_clears(gaps: list[float]) -> None:
    probation = Probation()
    address = Address(Family.IPV4, 1)
    probation.begin(address, 0.0)
    now = 0.0
    for gap in gaps:
        now += gap
        assert now < 3 * PROBE_SECONDS or not probation.pop_cleared(now)
        probation.pop_probe(now)
        probation.put_off(address, now + 1.0)
    _, verdicts = run(probation, now + 50.0)
    assert len(verdicts) == 1
    assert not gaps or verdicts[0] >= now + 1.0 + 3 * PROBE_SECONDS - 1e-9


def test_a_round_that_was_interrupted_begins_anew_but_not_before_its_time() -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    probation.put_off(OTHER, 10.0)
    run(probation, 2.5 * PROBE_SECONDS)
    probation.restart(5.0)
    probes, verdicts = run(probation, 9.0)
    assert probes == pytest.approx([5.0 + number * PROBE_SECONDS for number in range(PROBES)])
    assert verdicts == pytest.approx([5.0 + PROBES * PROBE_SECONDS])
    assert run(probation, 100.0)[0][0] == 10.0


def test_after_a_standstill_there_is_still_time_to_read_an_answer() -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    for number in range(PROBES):
        assert probation.pop_probe(number * PROBE_SECONDS) == VIP
    late = PROBES * PROBE_SECONDS + 0.3
    assert probation.pop_cleared(late) == []
    probation.put_off(VIP, late + 10.0)
    assert run(probation, late + 9.0) == ([], [])


def test_being_late_all_the_time_keeps_nothing_from_being_cleared() -> None:
    probation = Probation()
    probation.begin(VIP, 0.0)
    cleared: list[Address] = []
    now = 0.0
    while not cleared and now < 3.0:
        now += 0.3
        probation.pop_probe(now)
        cleared = probation.pop_cleared(now)
    assert cleared == [VIP]
