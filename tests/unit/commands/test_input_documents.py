"""Reading documents as kubectl does."""

from __future__ import annotations

import io
from typing import Any

import pytest

from allocator.offline.input_documents import InputDocument, UnreadableInput, read


def documents(text: str) -> list[InputDocument]:
    return read(["-"], stdin=io.StringIO(text))


def contents(text: str) -> list[Any]:
    return [document.content for document in documents(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01"),
        ("65000:1", "65000:1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("192.0.2.1", "192.0.2.1"),
        ("80", 80),
        ("-1", -1),
        ("0x1f", 31),
        ("010", 8),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("yes", True),
        ('"80"', "80"),
        ("~", None),
    ],
)
def test_scalars_are_what_kubectl_makes_of_them(text: str, value: object) -> None:
    assert contents(f"a: {text}") == [{"a": value}]


def test_keys_are_text() -> None:
    assert contents("1: a\nnull: c\n") == [{"1": "a", "null": "c"}]


def test_empty_documents_are_none_at_all() -> None:
    assert contents("---\n# nothing\n---\nkind: A\n---\n") == [{"kind": "A"}]
    assert contents("") == []


def test_json_values_may_follow_one_another() -> None:
    found = documents('{"kind": "A"}\n\n{"kind": "B",\n "x": [1]}\n')
    assert [(one.content["kind"], one.first_line, one.index) for one in found] == [("A", 1, 0), ("B", 3, 1)]


def test_a_yaml_stream_may_begin_with_a_document_in_json() -> None:
    assert contents('{"kind": "A"}\n---\nkind: B\n') == [{"kind": "A"}, {"kind": "B"}]


def test_json_may_be_indented_with_tabs() -> None:
    assert contents('{\n\t"kind": "A"\n}') == [{"kind": "A"}]


def test_lines_of_fields_are_known_inside_lists_and_annotations() -> None:
    (found,) = documents(
        "kind: List\n"
        "items:\n"
        "- kind: Service\n"
        "  metadata:\n"
        "    annotations:\n"
        "      metallb.io/address-pool: x\n"
        "  spec:\n"
        "    ports:\n"
        "    - port: 80\n"
        "    - port: 81\n"
    )
    assert found.first_line == 3
    assert found.line("metadata.annotations[metallb.io/address-pool]") == 6
    assert found.line("spec.ports[1].port") == 10
    assert found.line("spec.ports[7]") == 9, "the nearest thing that is there"
    assert found.line("status") == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\nb: 2\n", 2),
        ("a: {{ x }}\n", 1),
        ("a: b: c", 1),
        ("a: !!python/object:x.Y {}", 1),
        ("- 1\n", 1),
        ("x", 1),
    ],
)
def test_what_is_no_document_says_where(text: str, line: int | None) -> None:
    with pytest.raises(UnreadableInput) as caught:
        documents(text)
    (fault,) = caught.value.faults
    assert (fault.source, fault.line) == ("-", line)
    assert "\n" not in str(fault)
