"""The documents a person or a pipeline hands over: files, folders and `-`, YAML or JSON, as plain JSON values.

Values come out as the API server would get them from kubectl (see document_stream.py); keys are text. Where a
document came from is kept, down to the line of every field.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from allocator.objects.document import Document
from allocator.objects.numbers import whole_number
from allocator.offline.document_stream import Failure, Part, yaml_parts

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

    def repeated(self) -> list[str]:
        """Return the paths of keys that are written more than once in one mapping, in the order of the text.

        YAML forbids it, kustomize refuses it, and other readers take the last one silently.
        """
        return list(_repeated(self.node, "", set()))


def _repeated(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[str]:
    # An alias is the node that it names: it is looked at once, however often it is used.
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        found: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = f"{path}[{name}]" if re.search(r"[./]", name) else f"{path}.{name}".lstrip(".")
            # What `<<` brings in, PyYAML has put before the mapping's own keys, which may write it again.
            if key.start_mark.index >= node.start_mark.index:
                if name in found:
                    yield here
                found.add(name)
            yield from _repeated(value, here, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{path}[{index}]", seen)


def read(
    paths: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    on_passed_over: Callable[[Unreadable], None] = lambda _: None,
) -> list[InputDocument]:
    """Read every document of the files, folders (deep, sorted by name) and `-`. Raises UnreadableInput.

    A document of another's that cannot be read, a chart's template for one, is reported to `on_passed_over`, as are a
    folder without any and an empty standard input.
    """
    found: list[InputDocument] = []
    faults: list[Unreadable] = []
    for path in paths:
        try:
            sources = _sources(path)
            if not sources:
                on_passed_over(Unreadable(path, None, f"has no file that ends in {', '.join(sorted(_SUFFIXES))}"))
            for source in sources:
                try:
                    text = _text(source, stdin)
                    # What should have written it has probably failed.
                    if source == STDIN and not text.strip():
                        on_passed_over(Unreadable(source, None, "standard input is empty"))
                    for part in _documents(source, text):
                        if isinstance(part, Part):
                            _unpack(part, source, found)
                        elif part.foreign:
                            on_passed_over(Unreadable(source, part.line, part.why))
                        else:
                            faults.append(Unreadable(source, part.line, part.why))
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


def _text(source: str, stdin: BinaryIO | None) -> str:
    try:
        # As bytes: a terminal's character set says nothing about manifests.
        return (_input(stdin).read() if source == STDIN else Path(source).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Fault(f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise _Fault(error.strerror or str(error)) from None


def _input(stdin: BinaryIO | None) -> BinaryIO:
    if stdin is not None:
        return stdin
    # A program that was started without one has none (`<&-`).
    if sys.stdin is None:
        raise _Fault("there is no standard input")
    return sys.stdin.buffer


def _documents(source: str, text: str) -> Iterator[Part | Failure]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            parts = list(_json_parts(text))
        except json.JSONDecodeError as error:
            # YAML's flow style begins alike, and a YAML stream may begin with a document in JSON.
            if Path(source).suffix == ".json":
                raise _Fault(f"is not JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise _Fault("is nested too deeply") from None
        else:
            yield from parts
            return
    yield from yaml_parts(text)


def _json_parts(text: str) -> Iterator[Part]:
    """Values one after another, as `kubectl get -o json` of several writes them."""
    decoder = json.JSONDecoder(parse_int=whole_number)
    at, line = 0, 1
    while (start := _white_end(text, at)) < len(text):
        line += text.count("\n", at, start)
        content, end = decoder.raw_decode(text, start)
        yield Part(content, line)
        line += text.count("\n", start, end)
        at = end


def _white_end(text: str, at: int) -> int:
    match = _WHITE.match(text, at)
    return match.end() if match else at


def _unpack(part: Part, source: str, found: list[InputDocument]) -> None:
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
        _unpack(Part(item, child.start_mark.line + 1 if child else line, child), source, found)


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
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and len(step) < 10 and int(step) < len(node.value):
        item: yaml.Node = node.value[int(step)]
        return item
    return None
