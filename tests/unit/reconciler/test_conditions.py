"""Conditions are merged so that saying the same again changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from allocator.rules.conditions import KSTATUS_TYPES, Condition, merged, ready, reconciling, stalled

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 13, tzinfo=UTC)


def test_ready_stands_alone_and_the_others_stand_beside_ready_false() -> None:
    assert [(one.type, one.status) for one in ready("Fine", "")] == [("Ready", "True")]
    assert [(one.type, one.status) for one in stalled("Bad", "")] == [("Ready", "False"), ("Stalled", "True")]
    assert [(one.type, one.status) for one in reconciling("Soon", "")] == [
        ("Ready", "False"),
        ("Reconciling", "True"),
    ]


def test_saying_the_same_again_gives_what_is_stored() -> None:
    stored = merged([], stalled("Bad", "why"), owned=KSTATUS_TYPES, now=NOON, generation=3)
    assert merged(stored, stalled("Bad", "why"), owned=KSTATUS_TYPES, now=LATER, generation=3) == stored


def test_the_time_is_of_the_last_change_of_status() -> None:
    stored = merged([], ready("Valid", "one"), owned=KSTATUS_TYPES, now=NOON)
    (reworded,) = merged(stored, ready("Valid", "two"), owned=KSTATUS_TYPES, now=LATER)
    assert (reworded["message"], reworded["lastTransitionTime"]) == ("two", "2026-01-01T12:00:00Z")
    turned = merged(stored, stalled("Bad", ""), owned=KSTATUS_TYPES, now=LATER)
    assert {one["lastTransitionTime"] for one in turned} == {"2026-01-01T13:00:00Z"}


def test_what_is_no_longer_said_goes_and_what_others_say_stays() -> None:
    foreign = {"type": "example.com/Other", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "x"}
    stored = merged([foreign], stalled("Bad", ""), owned=KSTATUS_TYPES, now=NOON)
    after = merged(stored, ready("Valid", ""), owned=KSTATUS_TYPES, now=LATER)
    assert [one["type"] for one in after] == ["example.com/Other", "Ready"]
    assert after[0] == foreign


def test_a_message_is_cut_to_what_the_api_takes() -> None:
    long = Condition(type="Ready", status="True", reason="R", message="x" * 40_000)
    (document,) = merged([], [long], owned=(), now=NOON)
    assert len(document["message"]) == 32_768
