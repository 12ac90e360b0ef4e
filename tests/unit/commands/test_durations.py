"""Every option that takes a duration refuses what is none."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from tests.unit.reference.options import commands


def durations() -> Iterator[tuple[str, click.Option]]:
    """Yield every option that takes a number that need not be whole, with its command."""
    for name, command in commands().items():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(
                option.type, click.FloatRange | click.types.FloatParamType
            ):
                yield name, option


def test_there_are_some() -> None:
    assert len(list(durations())) > 8


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_no_duration_is_endless_or_none(text: str) -> None:
    for name, option in durations():
        with pytest.raises(click.BadParameter):
            option.type_cast_value(click.Context(click.Command(name)), text)
