"""The demo says what it shows, and which step did not hold."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.demo.narration import DoesNotHold, Narrator, expect


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(page: io.StringIO) -> Narrator:
    return Narrator(Console(file=page, width=40))


def test_a_step_that_fails_is_named_with_what_was_found(narrator: Narrator, page: io.StringIO) -> None:
    with narrator.step("first"):
        pass

    with pytest.raises(DoesNotHold, match="2"), narrator.step("second"):
        expect(False, "two nodes answer")

    assert "step 2 does not hold: two nodes answer" in page.getvalue()


def test_any_error_inside_a_step_is_that_steps_failure(narrator: Narrator) -> None:
    with pytest.raises(DoesNotHold, match="no route"), narrator.step("first"):
        raise OSError("no route")


def test_long_output_is_not_broken_into_lines(narrator: Narrator, page: io.StringIO) -> None:
    narrator.command("kubectl get pods", "x" * 200)

    assert f"{'x' * 200}\n" in page.getvalue()


def test_brackets_in_output_are_printed_as_they_are(narrator: Narrator, page: io.StringIO) -> None:
    narrator.command("kubectl get ipaddresspools", '["10.0.0.0/8"] [bold]')

    assert '["10.0.0.0/8"] [bold]' in page.getvalue()


def test_everything_measured_is_repeated_at_the_end(narrator: Narrator, page: io.StringIO) -> None:
    with narrator.step("first"):
        narrator.measured("ready after", "1.5 s")
    shown_once = page.getvalue()

    narrator.summary()

    end = page.getvalue().removeprefix(shown_once)
    assert "ready after  1.5 s" in end
    assert "All 1 steps hold" in end
