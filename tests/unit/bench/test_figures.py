"""A figure says whether it is reached, and is kept as one JSON line."""

import io
import json

import pytest

from tests.bench.figures import Figure, Report, quantile


def figure(value: float, target: float | None, *, at_least: bool = False) -> Figure:
    return Figure(
        section="speed", what="a thing", value=value, unit="s", baseline="another", baseline_value=3.0,
        target=target, at_least=at_least,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "target", "at_least", "reached"),
    [(1.0, 1.0, False, True), (1.1, 1.0, False, False), (0.5, 0.5, True, True), (0.4, 0.5, True, False)],
)
def test_a_target_is_reached_at_its_very_value(value: float, target: float, at_least: bool, reached: bool) -> None:
    assert figure(value, target, at_least=at_least).reached is reached


def test_without_a_target_there_is_nothing_to_reach() -> None:
    assert figure(1.0, None).reached is None


def test_each_figure_is_a_json_line_with_its_baseline() -> None:
    lines = io.StringIO()
    report = Report(lines)
    report.add(figure(2.0, 1.0))
    report.add(figure(0.5, 1.0))
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (first["value"], first["baseline_value"], first["reached"]) == (2.0, 3.0, False)
    assert second["reached"] is True


def test_quantiles_are_samples() -> None:
    samples = [float(number) for number in range(100, 0, -1)]
    assert quantile(samples, 0.5) == 51.0
    assert quantile(samples, 0.99) == 100.0
    assert quantile([7.0], 0.99) == 7.0
