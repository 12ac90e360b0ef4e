"""A Service that another controller serves: our annotations, written by hand, do not make it ours."""

from __future__ import annotations

from allocator.objects.names import OUTPUT_ANNOTATIONS
from allocator.rules.service import ask
from allocator.rules.verdict import Rules, Verdict
from tests.unit.commands.manifests import service


def test_annotations_of_ours_that_are_written_by_hand_on_it_are_removed() -> None:
    stored = service("web", shows=("198.51.100.1",))
    forged = service("web", shows=("198.51.100.1",))
    forged["metadata"]["annotations"] = dict.fromkeys(OUTPUT_ANNOTATIONS, "198.51.100.1")
    answer = ask(forged, stored, namespace=None, rules=Rules(), foreign=True)
    assert isinstance(answer, Verdict)
    assert answer.annotations == dict.fromkeys(OUTPUT_ANNOTATIONS)
