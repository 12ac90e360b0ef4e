"""A YAML stream taken apart, so that one document that cannot be read costs nobody else.

Values come out as kubectl reads them: YAML's timestamps stay text, `65000:1` is no number, `=` is text, `y` and `n`
are booleans, tags that are somebody's own (`!reference`) are passed over and the value behind them is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from allocator.objects.numbers import whole_number, within_reach

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_OURS = re.compile(r"^apiVersion:\s*[\"']?(?:metallb\.io|admitlb\.io)/", re.MULTILINE)

TEMPLATE = "is a chart's template, no document yet; check what `helm template` makes of it"


@dataclass(frozen=True, slots=True)
class Part:
    """A value as it stands in a file."""

    content: Any
    first_line: int
    node: yaml.Node | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that cannot be read. `foreign` says that it is none of ours, so that the rest may be checked."""

    why: str
    line: int | None
    foreign: bool = False


def yaml_parts(text: str) -> Iterator[Part | Failure]:
    """Yield every document of a stream. A stream that is no YAML as a whole is read document by document."""
    try:
        parts = list(_loaded(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        for line, chunk in _chunks(text):
            yield from _chunk_parts(chunk, line)
    else:
        yield from parts


def _chunk_parts(chunk: str, line: int) -> Iterator[Part | Failure]:
    try:
        # The lines before it, empty, make every mark count from the beginning of the file.
        yield from list(_loaded("\n" * (line - 1) + chunk))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        yield _failure(chunk, line, error)


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Every document's text, with its first line; a separator within a block of text is taken for one."""
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text))]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        if start < end:
            yield text.count("\n", 0, start) + 1, text[start:end]


def _failure(chunk: str, first_line: int, error: Exception) -> Failure:
    ours = bool(_OURS.search(chunk))
    why, marked = _problem(error)
    line = marked or first_line
    if _TEMPLATE.search(chunk):
        return Failure(TEMPLATE, line, foreign=not ours)
    # What is well-formed and has a value that only its owner can read (`!!python/object`) is for its owner to judge.
    well_formed = not isinstance(error, yaml.YAMLError) or isinstance(error, yaml.constructor.ConstructorError)
    foreign = well_formed and _is_object(chunk) and not ours
    return Failure(f"is not YAML: {why}" if not isinstance(error, RecursionError) else why, line, foreign=foreign)


def _is_object(chunk: str) -> bool:
    return bool(re.search(r"^apiVersion:", chunk, re.MULTILINE) and re.search(r"^kind:", chunk, re.MULTILINE))


def _problem(error: Exception) -> tuple[str, int | None]:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        return why, mark.line + 1 if mark else None
    if isinstance(error, RecursionError):
        return "is nested too deeply", None
    return " ".join(str(error).split()), None


def _loaded(text: str) -> Iterator[Part]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            # Refuses what an alias makes part of itself, as kubectl does; without, it becomes a list without end.
            loader.deep_construct = True
            yield Part(loader.construct_document(node), node.start_mark.line + 1, node)
    finally:
        loader.dispose()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's fast loader, reading as kubectl does: no timestamps, no base-60 numbers, keys as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own class attribute
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in ("timestamp", "int", "float", "value")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012  the same

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return {key if isinstance(key, str) else json.dumps(key): value for key, value in built.items()}

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        """A number of any length; in any base but ten int() has no limit."""
        text = str(node.value).replace("_", "")
        if re.fullmatch(r"[-+]?(?:0|[1-9][0-9]*)", text):
            return whole_number(text)
        return within_reach(int(super().construct_yaml_int(node)))

    def construct_untagged(self, _tag: str, node: yaml.Node) -> Any:
        """What follows a tag of somebody's own."""
        if isinstance(node, yaml.ScalarNode):
            return self.construct_scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_Loader.add_multi_constructor("!", _Loader.construct_untagged)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
