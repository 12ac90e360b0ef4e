"""Durations are read as Go reads them (the tables of Go's time_test.go), and printed nowhere at length."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.objects.durations import DurationError, seconds_of

NANO = Fraction(1, 1_000_000_000)
SECONDS: dict[str, Fraction] = {
    "0": Fraction(0),
    "5s": Fraction(5),
    "30s": Fraction(30),
    "1478s": Fraction(1478),
    "-5s": Fraction(-5),
    "+5s": Fraction(5),
    "-0": Fraction(0),
    "+0": Fraction(0),
    "5.0s": Fraction(5),
    "5.6s": Fraction(56, 10),
    "5.s": Fraction(5),
    ".5s": Fraction(1, 2),
    "1.004s": Fraction(1004, 1000),
    "100.00100s": Fraction(100001, 1000),
    "10ns": 10 * NANO,
    "11us": 11_000 * NANO,
    "12µs": 12_000 * NANO,
    "12μs": 12_000 * NANO,
    "13ms": Fraction(13, 1000),
    "14s": Fraction(14),
    "15m": Fraction(900),
    "16h": Fraction(57_600),
    "3h30m": Fraction(12_600),
    "10.5s4m": Fraction(2505, 10),
    "-2m3.4s": Fraction(-1234, 10),
    "1h2m3s4ms5us6ns": 3723 + 4_005_006 * NANO,
    "39h9m14.425s": Fraction(140_954_425, 1000),
    "0.3333333333333333333h": 1_200 - NANO,
    "9223372036854775807ns": 9_223_372_036_854_775_807 * NANO,
}
BAD = [
    "",
    "3",
    "-",
    "s",
    ".",
    "-.",
    ".s",
    "+.s",
    "1d",
    "1 s",
    "1s ",
    "3000000h",
    "9223372036854775808ns",
    "1e3s",
    "٣s",
    "\0",
]


@pytest.mark.parametrize("text", SECONDS)
def test_a_duration_is_exact(text: str) -> None:
    assert seconds_of(text) == SECONDS[text]


@pytest.mark.parametrize("text", [*BAD, "9" * 5000 + "s"], ids=lambda text: text[:20])
def test_what_go_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(DurationError) as refused:
        seconds_of(text)
    assert len(str(refused.value)) < 200


@given(st.text(st.sampled_from("0123456789.-+hmsunµ"), max_size=70))
def test_no_text_fails_otherwise(text: str) -> None:
    with suppress(DurationError):
        assert abs(seconds_of(text)) < 1 << 63
