"""The page of explanations is what the code says now, and leaves none of its reasons out."""

from __future__ import annotations

import pytest

from allocator.core.verdicts import RefusalKind
from allocator.rules.service_report import reason_of
from tests.unit.explanations.case import Case
from tests.unit.explanations.cases import CONFIGURATION, SERVICES
from tests.unit.explanations.table import PAGE, page, tell

ALL = [case for group in (SERVICES, CONFIGURATION) for cases in group.values() for case in cases]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.unit.explanations.table"


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
def test_every_case_is_told_in_one_line_with_its_object(case: Case) -> None:
    told = tell(case)
    metadata = case.documents[-1]["metadata"]
    lines = [told.default.message, *told.default.warnings] if told.default.message else [*told.default.warnings]
    if told.condition is not None:
        lines.append(told.condition.message)
    assert lines
    assert all("\n" not in line for line in lines)
    assert any(metadata["name"] in line or "annotation" in line or told.addresses for line in lines)


def test_every_reason_a_decision_has_is_on_the_page() -> None:
    reasons = {told.condition.reason for case in ALL if (told := tell(case)).condition is not None}
    heals = {reason_of(kind) for kind in RefusalKind if kind.heals}
    assert heals <= reasons
    codes = {tell(case).default.code for case in ALL}
    assert {403, 409, 422} <= codes
