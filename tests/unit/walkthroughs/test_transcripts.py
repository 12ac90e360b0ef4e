"""How a console session of the documentation is read, and when output is what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.endtoend.transcripts import Step, steps

PAGE = """\
Text with `$ nothing`.

```console
$ kubectl apply -f - <<'YAML'
kind: Pool
$ not a command
YAML
pool created
$ kubectl get pool \\
    -o wide
NAME   AGE
one    3s
$ false
[exit code 1]
```

```sh
$ is not played
```
"""


@pytest.fixture
def session(tmp_path: Path) -> list[Step]:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    return steps(page)


def test_commands_come_with_their_here_documents_and_continued_lines(session: list[Step]) -> None:
    assert [step.command for step in session] == [
        "kubectl apply -f - <<'YAML'\nkind: Pool\n$ not a command\nYAML",
        "kubectl get pool \\\n    -o wide",
        "false",
    ]


def test_a_step_knows_its_line_what_it_shows_and_how_it_ends(session: list[Step]) -> None:
    assert [step.source for step in session] == ["page.md:4", "page.md:9", "page.md:13"]
    assert [step.shown for step in session] == [
        ("pool created",),
        ("NAME   AGE", "one    3s"),
        ("[exit code 1]",),
    ]
    assert [step.exit_code for step in session] == [0, 0, 1]


def test_only_what_changes_nothing_is_asked_again(session: list[Step]) -> None:
    assert [step.asks for step in session] == [False, True, False]


def matches(printed: str, *shown: str) -> bool:
    return Step("page.md:1", "true", shown).matches(printed)


def test_a_command_without_output_may_print_anything() -> None:
    assert matches("whatever\n")


@pytest.mark.parametrize(
    "printed",
    [
        "NAME  NODE  AGE\n203.0.113.10  node-3  1m12s\n",
        "NAME   NODE     AGE\n203.0.113.10   node-1   2d\n",
    ],
)
def test_ages_nodes_and_column_widths_may_differ(printed: str) -> None:
    assert matches(printed, "NAME           NODE     AGE", "203.0.113.10   node-2   3s")


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "NAME NODE AGE\n203.0.113.11 node-2 3s",
        "NAME NODE AGE\n203.0.113.10 3s",
        "NAME NODE AGE\n203.0.113.10 node-2 3s\n203.0.113.11 node-2 3s",
        "Warning: NAME NODE AGE\n203.0.113.10 node-2 3s",
    ],
)
def test_another_address_a_missing_cell_or_one_line_more_is_something_else(printed: str) -> None:
    assert not matches(printed, "NAME NODE AGE", "203.0.113.10 node-2 3s")


def test_an_ellipsis_stands_for_any_lines_and_for_none() -> None:
    assert matches("a\nb\nc\nend\n", "a", "[...]", "end")
    assert matches("a\nend\n", "a", "[...]", "end")
    assert matches("end\n", "[...]", "end")
    assert not matches("a\nb\n", "a", "[...]", "end")


def test_an_ellipsis_in_a_word_stands_for_the_rest_of_it() -> None:
    assert matches("error: l2-7xk2p was not found there", "error: l2-[...] was not found[...]")
    assert not matches("warning: l2-7xk2p was not found", "error: l2-[...] was not found[...]")


def test_a_session_within_a_list_is_read_without_its_indentation(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text(
        "1. Do:\n\n   ```console\n   $ cat <<'X'\n     a\n   X\n     a\n   ```\n\n```console\n$ true\n```\n"
    )
    (step, other) = steps(document)
    assert (step.command, step.shown) == ("cat <<'X'\n  a\nX", ("  a",))
    assert other.command == "true"
