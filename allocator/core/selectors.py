"""Label selectors with the API's semantics (metav1.LabelSelector)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """What a requirement asks of the label's value."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One `matchExpressions` entry, or one `matchLabels` pair written as In."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether `labels` meet the requirement; NotIn is met by an absent label, as in the API."""
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={values}"
            case Operator.IN:
                return f"{self.key} in ({values})"
            case Operator.NOT_IN:
                return f"{self.key} not in ({values})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; an empty selector matches everything."""

    requirements: frozenset[Requirement]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether `labels` meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ", ".join(sorted(str(requirement) for requirement in self.requirements)) or "everything"


def exclude_each_other(one: Selector, other: Selector) -> bool:
    """Return whether no labels match both, as far as what each asks of one key says; False where that is open."""
    return any(
        mine.key == its.key and (_contradict(mine, its) or _contradict(its, mine))
        for mine in one.requirements
        for its in other.requirements
    )


def _contradict(one: Requirement, other: Requirement) -> bool:
    match one.operator, other.operator:
        case Operator.IN, Operator.IN:
            return one.values.isdisjoint(other.values)
        case Operator.IN, Operator.NOT_IN:
            return one.values <= other.values
        case Operator.IN | Operator.EXISTS, Operator.DOES_NOT_EXIST:
            return True
    return False


def matches_any(selectors: Iterable[Selector], labels: Mapping[str, str]) -> bool:
    """Return whether any selector of the list matches; an empty list matches nothing."""
    return any(selector.matches(labels) for selector in selectors)


def covers(selectors: Collection[Selector], labels: Mapping[str, str]) -> bool:
    """Return whether a list of selectors that restricts something admits it; an empty list restricts nothing."""
    return not selectors or matches_any(selectors, labels)
