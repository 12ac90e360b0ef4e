"""Kubernetes documents as plain values: what every kind has, and the problems found while reading one.

Bad input is an InvalidDocument that lists every problem with its field path, the value and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from allocator.core.addresses import AddressError
from allocator.core.listing import cut, one_line

Document = Mapping[str, Any]
_Value = TypeVar("_Value")
_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and why with the remedy."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class InvalidDocument(ValueError):
    """A document that cannot be taken as it is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - _PROBLEMS_SHOWN
        shown = [str(problem) for problem in self.problems[:_PROBLEMS_SHOWN]]
        super().__init__(cut(one_line("; ".join([*shown, f"{more} more problems"] if more > 0 else shown))))


class Problems:
    """Collects problems, so that one answer names all of them."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, path: str, why: str) -> None:
        """Note a problem at a field path."""
        self._found.append(Problem(path, why))

    @property
    def count(self) -> int:
        """How many problems were noted."""
        return len(self._found)

    def read(self, path: str, parse: Callable[[], _Value]) -> _Value | None:
        """Run a parser; its AddressError becomes a problem at `path` and the result None."""
        try:
            return parse()
        except AddressError as error:
            self.add(path, str(error))
            return None

    def raise_if_any(self) -> None:
        """Raise InvalidDocument when anything was noted."""
        if self._found:
            raise InvalidDocument(self._found)


def name_of(document: Document) -> str:
    """Return metadata.name; `(new)` where the API server is still to make one up."""
    name: str = document["metadata"].get("name") or "(new)"
    return name


def in_order_of_age(documents: Iterable[Document]) -> list[Document]:
    """Return the documents, the oldest first, those of one second by name."""
    return sorted(documents, key=lambda one: (one["metadata"].get("creationTimestamp") or "", name_of(one)))


def in_deletion(document: Document | None) -> bool:
    """Return whether the object is deleted but for the finalizers that somebody has put on it."""
    return bool(((document or {}).get("metadata") or {}).get("deletionTimestamp"))


def labels_of(document: Document | None) -> Mapping[str, str]:
    """Return metadata.labels, empty when absent."""
    labels: Mapping[str, str] = ((document or {}).get("metadata") or {}).get("labels") or {}
    return labels


def annotations_of(document: Document | None) -> Mapping[str, str]:
    """Return metadata.annotations, empty when absent."""
    annotations: Mapping[str, str] = ((document or {}).get("metadata") or {}).get("annotations") or {}
    return annotations


def names_from(names: Iterable[str] | None, path: str, problems: Problems) -> tuple[str, ...]:
    """Read a list of names; the same one twice is a problem, as in MetalLB."""
    taken: list[str] = []
    for index, name in enumerate(names or ()):
        if name in taken:
            problems.add(f"{path}[{index}]", f"{name} is listed twice; remove one")
        taken.append(name)
    return tuple(taken)
