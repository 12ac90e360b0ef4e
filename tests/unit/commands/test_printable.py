"""Names of documents do nothing to the terminal or the CI runner that shows them."""

from __future__ import annotations

import json

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
