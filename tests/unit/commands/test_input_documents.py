"""Reading documents as kubectl does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from allocator.offline.input_documents import InputDocument, UnreadableInput, read


def documents(text: str) -> list[InputDocument]:
    return read(["-"], stdin=io.BytesIO(text.encode()))


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
        ("y", True),
        ("N", False),
        ("'y'", "y"),
        ("ny", "ny"),
        ('"80"', "80"),
        ("~", None),
    ],
)
def test_scalars_are_what_kubectl_makes_of_them(text: str, value: object) -> None:
    assert contents(f"a: {text}") == [{"a": value}]


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "&a {kind: *a}",
        "kind: List\nitems: &a [*a]",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nspec: &s {addresses: [*s]}",
    ],
)
def test_what_contains_itself_is_no_document(text: str) -> None:
    with pytest.raises(UnreadableInput, match=r"^-:\d: is not YAML: found unconstructable recursive node$"):
        documents(text)


def test_a_folder_without_documents_is_reported(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    notes: list[str] = []
    assert read([str(tmp_path)], on_passed_over=lambda note: notes.append(str(note))) == []
    assert notes == [f"{tmp_path}: has no file that ends in .json, .yaml, .yml"]


@pytest.mark.parametrize(("text", "noted"), [("", 1), (" \n", 1), ("---\n", 0)])
def test_an_empty_standard_input_is_reported(text: str, noted: int) -> None:
    """As of `kustomize build … | admitlb lint -`, where kustomize fails and the shell goes on."""
    notes: list[str] = []
    found = read(["-"], stdin=io.BytesIO(text.encode()), on_passed_over=lambda note: notes.append(str(note)))
    assert (found, notes) == ([], ["-: standard input is empty"] * noted)


def test_an_alias_may_be_used_twice() -> None:
    assert contents("a: &a [1]\nb: *a\nc: *a\n") == [{"a": [1], "b": [1], "c": [1]}]


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
        ("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\na: {{ x }}\n", 3),
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


FOREIGN = "apiVersion: example.com/v1\nkind: Thing\n"
OURS = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n"


def passed_over(text: str) -> tuple[list[Any], list[tuple[int | None, str]]]:
    notes: list[tuple[int | None, str]] = []
    found = read(
        ["-"], stdin=io.BytesIO(text.encode()), on_passed_over=lambda note: notes.append((note.line, note.why))
    )
    return [document.content for document in found], notes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("- =", ["="]),
        ("=", "="),
        ("!reference [.setup, script]", [".setup", "script"]),
        ("!Sub '${AWS::Region}'", "${AWS::Region}"),
        ("!vault |\n  secret\n", "secret\n"),
        ("!map {b: 1}", {"b": 1}),
        ("- !a [!b c, {d: !e 1}]", [["c", {"d": "1"}]]),
    ],
)
def test_tags_of_others_are_passed_over_and_what_they_stand_before_is_read(text: str, value: object) -> None:
    indented = text.replace("\n", "\n  ")
    (document,), notes = passed_over(f"{FOREIGN}a:\n  {indented}\n")
    assert (document["a"], notes) == (value, [])


@pytest.mark.parametrize(
    "foreign",
    [
        f"{FOREIGN}a: !!int x\n",
        f"{FOREIGN}a: !!python/object:x.Y {{}}\n",
        f"{FOREIGN}a: {{{{ .Values.x }}}}\n",
        f"{FOREIGN}{{{{- if .Values.x }}}}\na: b\n{{{{- end }}}}\n",
        "{{- range .Values.list }}\n- a: {{ . }}\n{{- end }}\n",
        f'{FOREIGN}metadata:\n  labels: {{{{- include "x" . | nindent 4 }}}}\n',
    ],
)
def test_a_foreign_document_that_cannot_be_read_is_passed_over_and_the_rest_is_checked(foreign: str) -> None:
    for stream in (f"{foreign}---\n{OURS}", f"{OURS}---\n{foreign}", f"{OURS}---\n{foreign}---\n{OURS}"):
        found, notes = passed_over(stream)
        assert {document["kind"] for document in found} == {"IPAddressPool"}
        assert len(found) == stream.count(OURS)
        assert len(notes) == 1


def test_a_template_is_named_as_a_template_with_its_line() -> None:
    _, ((line, why),) = passed_over(f"{OURS}---\n{FOREIGN}a: {{{{ .Values.x }}}}\n")
    assert why.startswith("is a chart's template")
    assert line == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{OURS}a: {{{{ .Values.x }}}}\n", "is a chart's template"),
        (f"{OURS}a: !!int x\n", "is not YAML"),
        (f"{FOREIGN}a: [1\n", "is not YAML"),
        (f"{FOREIGN}a: b: c\n", "is not YAML"),
    ],
)
def test_our_own_documents_and_plain_mistakes_are_unreadable_still(text: str, says: str) -> None:
    with pytest.raises(UnreadableInput) as caught:
        passed_over(f"{FOREIGN}---\n{text}---\n{FOREIGN}")
    (fault,) = caught.value.faults
    assert says in fault.why
    assert fault.line is not None
    assert fault.line >= 3


@pytest.mark.parametrize("digits", [101, 4300, 4301, 50_000])
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("form", ["a: {}", '{{"a": {}}}', "a: 0x{}"])
def test_a_number_of_any_length_is_read_as_one_that_fits_nowhere(form: str, sign: str, digits: int) -> None:
    (content,) = contents(form.format(sign + "9" * digits) if "0x" not in form else f"a: {sign}0x{'9' * digits}")
    assert abs(content["a"]) == 10**100
    assert (content["a"] < 0) is bool(sign)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("a: 1\nb: {a: 1, c: 2}\nd: [{a: 1}, {a: 2}]", []),
        ("a: 1\na: 1", ["a"]),
        ("a: 1\nb: 2\na: 3\na: 4", ["a", "a"]),
        ("spec: {addresses: [x], autoAssign: false, addresses: [y]}", ["spec.addresses"]),
        ("metadata:\n  annotations:\n    x.io/a: 1\n    'x.io/a': 2", ["metadata.annotations[x.io/a]"]),
        ("ports:\n- {port: 1}\n- {port: 2, port: 3}", ["ports[1].port"]),
        ("a: &a {b: 1, b: 2}\nc: *a\nd: *a", ["a.b"]),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  b: 2", []),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  b: 2\n  b: 3", ["c.b"]),
        ("a: &a {b: 1}\nd: &d {b: 2}\nc:\n  <<: [*a, *d]\n  e: 2", []),
    ],
)
def test_keys_that_are_written_twice_are_found(text: str, repeated: list[str]) -> None:
    assert [document.repeated() for document in documents(text)] == [repeated]


def test_keys_of_each_item_of_a_list_are_its_own() -> None:
    text = "kind: List\nitems:\n- {kind: Service, spec: {type: X}}\n- {kind: Service, spec: {type: X, type: Y}}"
    assert [document.repeated() for document in documents(text)] == [[], ["spec.type"]]
