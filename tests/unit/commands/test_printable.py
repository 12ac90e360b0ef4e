"""Names of documents do nothing to the terminal or the CI runner that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from allocator.cli import main
from allocator.commands.printable import printable
from allocator.commands.tables import print_table
from tests.unit.commands.manifests import pool, service


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("w\n::stop-commands::tok", "w\\n::stop-commands::tok"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("a\u202eb\x9b", "a\\u202eb\\x9b"),
        ("::stop-commands::tok", ":\\:stop-commands::tok"),
        ("  ::add-mask::x", "  :\\:add-mask::x"),
        ("##[group]x ##vso[task]", "#\\#[group]x #\\#vso[task]"),
        ("::1/128", "::1/128"),
        ("prod/wéb", "prod/wéb"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(alphabet=st.characters(), max_size=60))
def test_it_is_one_line_that_begins_no_command(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@pytest.mark.parametrize("terminal", [False, True])
def test_every_cell_of_every_table_is_printable(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    print_table(("A", "B"), [("w\n::stop-commands::tok", "x\x1b]0;t\x07")], [""])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "w\\n::stop-commands::tok" in lines[1]
    assert "x\\x1b]0;t\\x07" in lines[1]


def test_a_plan_begins_no_line_with_what_a_document_holds() -> None:
    wicked = service("w\n::stop-commands::tok", annotations={"loadBalancerIPs": "\n::add-mask::x\x1b[2J"})
    stream = "\n".join(json.dumps(one) for one in (pool("lan", "192.0.2.10"), wicked))
    shown = CliRunner().invoke(main, ["plan", "-"], input=stream).stdout
    assert "w\\n::stop-commands::tok" in shown
    assert not [line for line in shown.splitlines() if line.startswith("::") or "\x1b" in line]


_NAMES = ["a\n::add-mask::x.yaml", "\x1b[2Jb.yaml", "##[group]c.yaml", "d\udcff.yaml"]
_TEXTS = [
    json.dumps(pool("lan", "192.0.2.300")).encode(),
    b"a: [",
    b"apiVersion: v1\nkind: Service\nmetadata: {{ .Values.x }}\n",
]


@pytest.mark.parametrize("text", _TEXTS, ids=["denied", "unreadable", "passed over"])
@pytest.mark.parametrize("words", [["lint"], ["lint", "-o", "github"], ["plan"]], ids=" ".join)
def test_the_name_of_a_file_does_nothing_either(words: list[str], text: bytes, tmp_path: Path) -> None:
    for name in _NAMES:
        (tmp_path / name).write_bytes(text)
    done = CliRunner().invoke(main, [*words, str(tmp_path)])
    assert isinstance(done.exception, SystemExit | None), done.exception
    lines = done.output.splitlines()
    assert len(lines) >= len(_NAMES)
    begun = ("::error", "::notice", "::warning") if "github" in words else ()
    assert not [line for line in lines if line.startswith(("::", "##")) and not line.startswith(begun or "-")]
    if "github" not in words:
        assert "\x1b" not in done.output
