"""A conflict between two objects of one kind, and which conflicts a change brings.

An update is judged by what it changes: where several objects contradict one another, which came in while nothing
checked them, each can be fixed by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from allocator.objects.document import Problem


@dataclass(frozen=True, slots=True)
class Conflict:
    """What is wrong with one object because of another of its kind."""

    other: str
    problem: Problem


def split(after: Iterable[Conflict], before: Iterable[Conflict]) -> tuple[list[Problem], list[Problem]]:
    """Return the problems that are new with a change, and those that were there with the same object before."""
    known = {(conflict.other, conflict.problem.path) for conflict in before}
    new: list[Problem] = []
    old: list[Problem] = []
    for conflict in after:
        stored = (conflict.other, conflict.problem.path) in known
        (old if stored else new).append(conflict.problem)
    return new, old
