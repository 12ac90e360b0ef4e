"""Options that several commands share take what they can carry out, and refuse the rest with exit code 2."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from allocator import options
from allocator.cli import main
from tests.unit.reference.options import commands


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-1", "1e10", "soon"])
def test_a_duration_that_nothing_can_wait_for_is_refused(seconds: str) -> None:
    done = CliRunner().invoke(main, ["who-has", "192.0.2.1", "--no-cluster", "--seconds", seconds])
    assert done.exit_code == 2
    assert "Invalid value for '--seconds'" in done.output


def durations() -> Iterator[tuple[str, click.Option]]:
    for name, command in commands().items():
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.type, click.FloatRange):
                yield name, option


def test_every_duration_has_bounds_and_its_default_is_within() -> None:
    """A component whose default its own option refuses does not start."""
    found = list(durations())
    assert len(found) > 5
    for name, option in found:
        assert isinstance(option.type, options.Seconds), (name, option.name)
        assert option.type.max is not None, (name, option.name)
        assert option.type.max < threading.TIMEOUT_MAX, (name, option.name)
        default = option.to_info_dict()["default"]
        if default is not None:
            assert option.type.convert(default, option, None) == default, (name, option.name)
