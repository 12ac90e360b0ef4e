"""The documents a person or a pipeline hands over: files, folders and `-`, YAML or JSON, as plain JSON values.

Values come out as the API server would get them from kubectl: YAML's timestamps stay text, `65000:1` is no number,
keys are text. Where a document came from is kept, down to the line of every field.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml

from allocator.objects.document import Document

STDIN = "-"
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_STEP = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<item>[^\]]*)\]")
_WHITE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Input that cannot be read: the file, where in it as far as known, and why."""

    source: str
    line: int | None
    why: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.why}"


class UnreadableInput(Exception):
    """At least one input cannot be read; `faults` lists all of them."""

    def __init__(self, faults: Sequence[Unreadable]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDocument:
    """One document. `index` counts from 0 over all input, items of Lists one by one, in the order read."""

    index: int
    source: str
    content: Document
    first_line: int
    node: yaml.Node | None = field(default=None, repr=False, compare=False)

    def line(self, path: str = "") -> int:
        """Return the line of a field (`spec.addresses[1]`), or of the nearest thing around it that is there."""
        node, line = self.node, self.first_line
        for step in _STEP.finditer(path):
            node = _child(node, step["key"] or step["item"])
            if node is None:
                break
            line = node.start_mark.line + 1
        return line


def read(paths: Sequence[str], *, stdin: TextIO | None = None) -> list[InputDocument]:
    """Read every document of the files, folders (deep, sorted by name) and `-`. Raises UnreadableInput."""
    found: list[InputDocument] = []
    faults: list[Unreadable] = []
    for path in paths:
        try:
            for source in _sources(path):
                try:
                    for part in _documents(source, _text(source, stdin or sys.stdin)):
                        _unpack(part, source, found)
                except _Fault as fault:
                    faults.append(Unreadable(source, fault.line, fault.why))
        except OSError as error:
            faults.append(Unreadable(path, None, error.strerror or str(error)))
    if faults:
        raise UnreadableInput(faults)
    return found


class _Fault(Exception):
    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


@dataclass(frozen=True, slots=True)
class _Part:
    """A value as it stands in a file, before Lists are unpacked."""

    content: Any
    first_line: int
    node: yaml.Node | None = None


def _sources(path: str) -> list[str]:
    if path == STDIN:
        return [STDIN]
    if not Path(path).is_dir():
        return [path]
    visible = (
        file
        for file in Path(path).rglob("*")
        if file.suffix in _SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    return [str(file) for file in sorted(visible)]


def _text(source: str, stdin: TextIO) -> str:
    try:
        return stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Fault(f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise _Fault(error.strerror or str(error)) from None


def _documents(source: str, text: str) -> list[_Part]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return list(_json_parts(text))
        except json.JSONDecodeError as error:
            # YAML's flow style begins alike, and a YAML stream may begin with a document in JSON.
            if Path(source).suffix == ".json":
                raise _Fault(f"is not JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise _Fault("is nested too deeply") from None
    try:
        return list(_yaml_parts(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        raise _Fault(f"is not YAML: {why}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _Fault(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise _Fault("is nested too deeply") from None


def _json_parts(text: str) -> Iterator[_Part]:
    """Values one after another, as `kubectl get -o json` of several writes them."""
    decoder = json.JSONDecoder()
    at, line = 0, 1
    while (start := _white_end(text, at)) < len(text):
        line += text.count("\n", at, start)
        content, end = decoder.raw_decode(text, start)
        yield _Part(content, line)
        line += text.count("\n", start, end)
        at = end


def _white_end(text: str, at: int) -> int:
    match = _WHITE.match(text, at)
    return match.end() if match else at


def _yaml_parts(text: str) -> Iterator[_Part]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield _Part(loader.construct_document(node), node.start_mark.line + 1, node)
    finally:
        loader.dispose()


def _unpack(part: _Part, source: str, found: list[InputDocument]) -> None:
    content, node = part.content, part.node
    if content is None:
        return
    if isinstance(content, list):
        _unpack_items(content, node, part.first_line, source, found)
    elif not isinstance(content, dict):
        raise _Fault(f"holds {str(content)[:40]!r}, which is no Kubernetes object", part.first_line)
    elif str(content.get("kind", "")).endswith("List") and isinstance(content.get("items"), list):
        _unpack_items(_kinded(content), _child(node, "items"), part.first_line, source, found)
    else:
        found.append(
            InputDocument(
                index=len(found), source=source, content=content, first_line=part.first_line, node=part.node
            )
        )


def _unpack_items(
    items: list[Any], node: yaml.Node | None, line: int, source: str, found: list[InputDocument]
) -> None:
    for index, item in enumerate(items):
        child = _child(node, str(index))
        _unpack(_Part(item, child.start_mark.line + 1 if child else line, child), source, found)


def _kinded(listing: dict[str, Any]) -> list[Any]:
    """The items of a List; those of a typed one (ServiceList) come without the kind they are of."""
    kind = str(listing["kind"]).removesuffix("List")
    if not kind:
        return list(listing["items"])
    named = {"apiVersion": listing.get("apiVersion"), "kind": kind}
    return [named | item if isinstance(item, dict) else item for item in listing["items"]]


def _child(node: yaml.Node | None, step: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item: yaml.Node = node.value[int(step)]
        return item
    return None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's fast loader, reading as kubectl does: no timestamps, no base-60 numbers, keys as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own class attribute
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return {key if isinstance(key, str) else json.dumps(key): value for key, value in built.items()}


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
