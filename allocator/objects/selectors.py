"""Label selectors as written in documents, checked as the API server checks a metav1.LabelSelector.

Kubernetes: apimachinery pkg/apis/meta/v1/validation ValidateLabelSelector, pkg/util/validation IsQualifiedName and
IsValidLabelValue. A CRD's schema cannot say this, so that nobody but us checks the selectors in our kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from allocator.core.listing import cut
from allocator.core.selectors import Operator, Requirement, Selector
from allocator.objects.document import Document, Problems

_PART_CHARACTERS = 63
_PREFIX_CHARACTERS = 253
_PART = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_QUOTED_CHARACTERS = 80

_PART_FORM = "letters, digits, '-', '_' and '.', with a letter or digit at both ends"
_SUBDOMAIN_FORM = "lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each label"


def selector_from(document: Document, path: str = "selector", problems: Problems | None = None) -> Selector:
    """Read a metav1.LabelSelector. Raises InvalidDocument, or notes into `problems` when given.

    What is noted is left out of the selector that is returned.
    """
    noted = problems or Problems()
    requirements = {
        Requirement(key, Operator.IN, frozenset({value}))
        for key, value in (document.get("matchLabels") or {}).items()
        if _is_sound(label_problems(key, value), f"{path}.matchLabels[{_short(key)}]", noted)
    }
    for index, expression in enumerate(document.get("matchExpressions") or ()):
        requirement = _requirement(expression, f"{path}.matchExpressions[{index}]", noted)
        if requirement is not None:
            requirements.add(requirement)
    if problems is None:
        noted.raise_if_any()
    return Selector(frozenset(requirements))


def selectors_from(documents: Iterable[Document] | None, path: str, problems: Problems) -> tuple[Selector, ...]:
    """Read a list of selectors; the same one twice is a problem, as in MetalLB.

    What is left of one with problems may look like another that is left out as well: it is compared with none.
    """
    selectors: list[Selector] = []
    for index, document in enumerate(documents or ()):
        known = problems.count
        selector = selector_from(document, f"{path}[{index}]", problems)
        if problems.count > known:
            continue
        if selector in selectors:
            problems.add(f"{path}[{index}]", f"{selector} is listed twice; remove one")
        selectors.append(selector)
    return tuple(selectors)


def repeated_in(document: Document, fields: Iterable[str]) -> Problems:
    """Note every requirement that is listed twice of matchExpressions of these fields of the spec.

    A field is a list of selectors, or (`preferredNodeSelectors`) of entries with one selector each; `a.b` is a
    field of a field. Repetitions change nothing, so that a stored object is read in spite of them; one that is
    written now is refused.
    """
    problems = Problems()
    for field in fields:
        owner: Document = document.get("spec") or {}
        *outer, last = field.split(".")
        for step in outer:
            owner = owner.get(step) or {}
        for index, entry in enumerate(owner.get(last) or ()):
            inner, selector = (".preference", entry["preference"]) if "preference" in entry else ("", entry)
            _note_repeated(selector or {}, f"spec.{field}[{index}]{inner}", problems)
    return problems


def _note_repeated(selector: Document, path: str, problems: Problems) -> None:
    seen: list[Requirement] = []
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        requirement = _requirement(expression, here, Problems())
        if requirement is None:
            continue
        if requirement in seen:
            problems.add(here, f"{requirement} is listed twice; remove one")
        seen.append(requirement)


def label_problems(key: object, value: object) -> Iterator[str]:
    """Say what the API server would refuse in a label."""
    yield from key_problems(key)
    yield from value_problems(value)


def key_problems(key: object) -> Iterator[str]:
    """Say what keeps `key` from being a label's key (a qualified name: `name` or `prefix/name`)."""
    if not isinstance(key, str):
        yield f"key {key!r} is not a string; quote it"
        return
    prefix, slash, name = key.rpartition("/")
    shown = f"key {_short(key)!r}"
    if "/" in prefix:
        yield f"{shown} has more than one '/'; write name or prefix/name"
        return
    if slash and not prefix:
        yield f"{shown} has nothing before its '/'; write name or prefix/name"
    elif len(prefix) > _PREFIX_CHARACTERS:
        yield f"{shown} has a prefix of {len(prefix)} characters; use {_PREFIX_CHARACTERS} at most"
    elif slash and not _SUBDOMAIN.fullmatch(prefix):
        yield f"{shown} has a prefix that is no DNS name; use {_SUBDOMAIN_FORM}"
    if not name:
        yield f"{shown} has no name; write name or prefix/name"
    elif len(name) > _PART_CHARACTERS:
        yield f"{shown} has a name of {len(name)} characters; use {_PART_CHARACTERS} at most"
    elif not _PART.fullmatch(name):
        yield f"{shown} is no valid key; use {_PART_FORM}"


def value_problems(value: object) -> Iterator[str]:
    """Say what keeps `value` from being a label's value."""
    if not isinstance(value, str):
        yield f"value {value!r} is not a string; quote it"
    elif len(value) > _PART_CHARACTERS:
        yield f"value {_short(value)!r} has {len(value)} characters; use {_PART_CHARACTERS} at most"
    elif value and not _PART.fullmatch(value):
        yield f"value {_short(value)!r} is no label value; use {_PART_FORM}, or nothing"


def _requirement(expression: Document, here: str, problems: Problems) -> Requirement | None:
    key, written = expression.get("key"), expression.get("operator")
    values: tuple[str, ...] = tuple(expression.get("values") or ())
    sound = _is_sound(key_problems(key), f"{here}.key", problems)
    for index, value in enumerate(values):
        sound &= _is_sound(value_problems(value), f"{here}.values[{index}]", problems)
    if written not in list(Operator):
        shown = _short(written) if isinstance(written, str) else written
        problems.add(f"{here}.operator", f"{shown!r} is unknown; use one of {', '.join(Operator)}")
        return None
    operator = Operator(str(written))
    sound &= _is_sound(_unfit_values(operator, values), f"{here}.values", problems)
    return Requirement(str(key), operator, frozenset(values)) if sound else None


def _unfit_values(operator: Operator, values: tuple[str, ...]) -> Iterator[str]:
    if operator in (Operator.IN, Operator.NOT_IN):
        if not values:
            yield f"{operator} needs at least one value"
        elif len(set(map(str, values))) < len(values):
            yield "a value is listed twice; remove one"
    elif values:
        yield f"{operator} takes no values; remove them"


def _is_sound(found: Iterable[str], path: str, problems: Problems) -> bool:
    texts = list(found)
    for text in texts:
        problems.add(path, text)
    return not texts


def _short(text: object) -> str:
    return cut(str(text), limit=_QUOTED_CHARACTERS)
