"""Label selectors as written in documents (metav1.LabelSelector)."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.selectors import Operator, Requirement, Selector
from allocator.objects.document import Document, Problems


def selector_from(document: Document, path: str = "selector", problems: Problems | None = None) -> Selector:
    """Read a metav1.LabelSelector. Raises InvalidDocument, or notes into `problems` when given."""
    noted = problems or Problems()
    requirements = {
        Requirement(key, Operator.IN, frozenset({value}))
        for key, value in (document.get("matchLabels") or {}).items()
    }
    for index, expression in enumerate(document.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        values = expression.get("values") or ()
        try:
            operator = Operator(expression.get("operator"))
        except ValueError:
            allowed = ", ".join(Operator)
            noted.add(f"{here}.operator", f"{expression.get('operator')!r} is unknown; use one of {allowed}")
            continue
        if operator in (Operator.IN, Operator.NOT_IN) and not values:
            noted.add(f"{here}.values", f"{operator} needs at least one value")
        elif operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and values:
            noted.add(f"{here}.values", f"{operator} takes no values; remove them")
        elif len(set(values)) < len(values):
            noted.add(f"{here}.values", "a value stands twice; remove one")
        requirements.add(Requirement(str(expression.get("key")), operator, frozenset(values)))
    if problems is None:
        noted.raise_if_any()
    return Selector(frozenset(requirements))


def selectors_from(documents: Iterable[Document] | None, path: str, problems: Problems) -> tuple[Selector, ...]:
    """Read a list of selectors; the same one twice is a problem, as in MetalLB."""
    selectors: list[Selector] = []
    for index, document in enumerate(documents or ()):
        selector = selector_from(document, f"{path}[{index}]", problems)
        if selector in selectors:
            problems.add(f"{path}[{index}]", f"{selector} stands twice; remove one")
        selectors.append(selector)
    return tuple(selectors)
