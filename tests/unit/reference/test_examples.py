"""Each example passes `lint` without a warning, and `plan` gives its Services what its comments say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from allocator.cli import main
from tests.unit.reference.examples import EXAMPLES, FOLDER, POOL, gives


def names(path: Path) -> set[str]:
    return {
        f"{document['metadata']['namespace']}/{document['metadata']['name']}"
        for document in yaml.safe_load_all(path.read_text())
        if document["kind"] == "Service"
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_allowed_without_a_warning_and_gives_what_it_says(path: Path) -> None:
    paths = [str(POOL), *([str(path)] if path != POOL else [])]
    lint = CliRunner().invoke(main, ["lint", *paths, "-o", "json"])
    documents = json.loads(lint.stdout)["documents"]
    assert [(one["allowed"], one["warnings"]) for one in documents] == [(True, [])] * len(documents)
    plan = CliRunner().invoke(main, ["plan", *paths, "-o", "json", "--cluster-families", "IPv4,IPv6"])
    given = {f"{one['namespace']}/{one['name']}": one["ips"] for one in json.loads(plan.stdout)["services"]}
    assert given == gives(path)
    assert gives(path).keys() == names(path)


def test_all_of_them_apply_together() -> None:
    result = CliRunner().invoke(main, ["lint", str(FOLDER)])
    assert (result.exit_code, "0 denied, 0 warnings" in result.stdout) == (0, True), result.stdout


def test_the_list_of_examples_has_each() -> None:
    listed = (FOLDER / "README.md").read_text()
    assert [path.name for path in EXAMPLES if f"]({path.name})" not in listed] == []
