"""The examples of the page on the kinds for BGP are admitted without a word, under `strict` as well."""

from __future__ import annotations

import re
from typing import Any

import yaml

from allocator.objects.bgp_community import WELL_KNOWN
from allocator.objects.names import BGP_KINDS
from tests.unit.commands.bgp_manifests import judge
from tests.unit.reference.kinds import ROOT

PAGE = ROOT / "docs" / "bgp-kinds.md"


def examples() -> list[dict[str, Any]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return [document for block in blocks for document in yaml.safe_load_all(block)]


def test_every_kind_has_an_example_and_all_of_them_together_are_admitted() -> None:
    documents = examples()
    assert {document["kind"] for document in documents} >= {kind.kind for kind in BGP_KINDS}
    ran = judge(*documents, strict=True)
    assert set(ran.codes) == {200}, ran.messages
    assert [warning for warning in ran.warnings if "L2Advertisement" not in warning] == []


def test_every_well_known_community_is_on_the_page() -> None:
    assert [name for name in WELL_KNOWN if f"`{name}`" not in PAGE.read_text()] == []
