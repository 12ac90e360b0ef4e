"""The quota of a Namespace: what is a number, who may write one that is none, and what it counts as."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.kube import resource
from allocator.objects.namespace import check_quota, quota_of
from allocator.objects.service import request_from
from allocator.reconciler import configuration_state
from allocator.rules import configuration
from allocator.rules.namespace import review_namespace
from tests.unit.commands.manifests import Object, lint, namespace, service

MALFORMED = ("many", "-1", "1.5", "1e3", "²", "٣", "0x10", "3 addresses", "9" * 5000, str(1 << 31))


@pytest.mark.parametrize(
    ("text", "quota"),
    [("3", 3), (" 3 ", 3), ("007", 7), ("0", 0), ("0" * 5000 + "2", 2), (str((1 << 31) - 1), (1 << 31) - 1)],
)
def test_a_number_is_the_quota(text: str, quota: int) -> None:
    document = namespace("prod", quota=text)
    check_quota(document)
    assert quota_of(document) == quota


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_quota_counts_as_absent(text: str) -> None:
    document = namespace("prod", quota=text)
    assert quota_of(document) is None
    assert (review_namespace(document, None).allowed, review_namespace(document, None).warnings) == (True, ())


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_quota_that_is_written_now_is_refused(text: str) -> None:
    document = namespace("prod", quota=text)
    for old in (None, namespace("prod"), namespace("prod", quota="3"), namespace("prod", quota="other")):
        verdict = review_namespace(document, old)
        assert (verdict.allowed, verdict.code) == (False, 422)
        assert verdict.message.startswith("Namespace prod: metadata.annotations[admitlb.io/ip-quota]: ")
        assert len(verdict.message) < 300


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_quota_that_stood_there_before_is_in_nobodys_way(text: str) -> None:
    before = namespace("prod", quota=text)
    after = namespace("prod", quota=text, team="web")
    verdict = review_namespace(after, before)
    assert verdict.allowed
    assert "until then it counts as no quota" in verdict.warnings[0]
    assert quota_of(after) is None
    assert request_from(service("web"), namespace=after).applicant.quota is None


def test_mending_or_removing_a_malformed_quota_is_allowed() -> None:
    before = namespace("prod", quota="many")
    for after in (namespace("prod"), namespace("prod", quota="5"), namespace("prod", quota="")):
        assert review_namespace(after, before).warnings == ()


def test_the_configuration_reports_a_malformed_quota_and_is_valid() -> None:
    namespaces: list[Object] = [namespace("a", quota="many"), namespace("b", quota="1"), namespace("c")]
    found = configuration.read([], {resource.NAMESPACES: namespaces})
    assert found.errors() == []
    assert found.remarks() == [
        "Namespace a: metadata.annotations[admitlb.io/ip-quota]: 'many' on namespace a is not a whole number; "
        "write how many addresses it may hold"
    ]
    status = configuration_state.status_of(None, (), remarks=found.remarks(), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert status["result"] == "Valid"
    assert "errorSummary" not in status
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "poolReconcilerValid": "True",
        "Ready": "True",
    }
    assert all(one["message"] == f"no errors\n{found.remarks()[0]}" for one in status["conditions"])


def test_a_tenants_quota_stands_behind_what_is_wrong_with_the_configuration() -> None:
    tenants: list[Object] = [namespace(f"tenant-{number:03}", quota="x" * 4000) for number in range(500)]
    broken: Object = {"metadata": {"name": "odd"}, "spec": {"addresses": ["nonsense"]}}
    found = configuration.read([broken], {resource.NAMESPACES: tenants})
    assert [line.split(":")[0] for line in found.errors()] == ["IPAddressPool odd"]
    status = configuration_state.status_of(
        None, found.errors(), remarks=found.remarks(), now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert status["errorSummary"].startswith("IPAddressPool odd: ")
    assert all(one["message"].startswith("IPAddressPool odd: ") for one in status["conditions"])


@given(st.text(), st.text())
def test_an_unchanged_quota_never_refuses(text: str, label: str) -> None:
    before = namespace("prod", quota=text)
    after: dict[str, Any] = namespace("prod", quota=text)
    after["metadata"]["labels"] = {"l": label}
    assert review_namespace(after, before).allowed


def test_a_misspelt_annotation_is_warned_of_when_it_is_written() -> None:
    misspelt = {"metadata": {"name": "prod", "annotations": {"admitlb.io/quota": "3", "example.com/quota": "3"}}}
    (warning,) = review_namespace(misspelt).warnings
    assert warning == (
        "Namespace prod: annotation admitlb.io/quota is unknown and has no effect; did you mean admitlb.io/ip-quota?"
    )
    assert review_namespace(misspelt, namespace("prod")).warnings == (warning,)
    assert review_namespace(misspelt, misspelt).warnings == ()
    assert lint(misspelt | {"apiVersion": "v1", "kind": "Namespace"}).warnings == [warning]


def test_what_services_or_a_take_over_are_annotated_with() -> None:
    annotations = {"admitlb.io/take-over": "true", "metallb.io/address-pool": "lan", "admitlb.io/ip-quota": "many"}
    verdict = review_namespace({"metadata": {"name": "prod", "annotations": annotations}})
    assert not verdict.allowed
    assert verdict.warnings == (
        "Namespace prod: annotation metallb.io/address-pool is unknown and has no effect; it belongs on Services",
    )
