"""Annotations of a Service that nobody reads, or that only we may write: warned of, with the key that is meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.objects import names
from allocator.rules.service_annotations import annotation_warnings, nearest_annotation
from tests.unit.commands.manifests import Object, lint, namespace, plan, pool, service

MAIN = pool("main", "192.0.2.0/28")


def annotated(**annotations: str) -> Object:
    return annotated_with(annotations)


def annotated_with(annotations: dict[str, str]) -> Object:
    document = service("web")
    document["metadata"]["annotations"] = annotations
    return document


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("metallb.io/loadbalancerIPs", "metallb.io/loadBalancerIPs"),
        ("metallb.io/loadBalancerIP", "metallb.io/loadBalancerIPs"),
        ("metallb.io/load-balancer-ips", "metallb.io/loadBalancerIPs"),
        ("metallb.universe.tf/loadbalancerips", "metallb.io/loadBalancerIPs"),
        ("admitlb.io/loadBalancerIPs", "metallb.io/loadBalancerIPs"),
        ("metallb.io/addresspool", "metallb.io/address-pool"),
        ("metallb.io/adress-pool", "metallb.io/address-pool"),
        ("metallb.io/Address-Pool", "metallb.io/address-pool"),
        ("metallb.io/allow-shared-ips", "metallb.io/allow-shared-ip"),
        ("metallb.io/take-over", "admitlb.io/take-over"),
        ("admitlb.io/allow-shared-ip-namespace", "admitlb.io/allow-shared-ip-namespaces"),
    ],
)
def test_an_unknown_key_is_warned_of_with_the_nearest_known_one(key: str, meant: str) -> None:
    ran = lint(MAIN, annotated_with({key: "x"}))
    assert ran.codes == [200, 200]
    assert f"annotation {key} is unknown and has no effect; did you mean {meant}?" in ran.warnings


def test_a_key_like_no_other_is_told_the_known_ones() -> None:
    (warning,) = annotation_warnings(annotated_with({"metallb.io/colour": "x"}), None)
    assert warning.startswith("annotation metallb.io/colour is unknown and has no effect; known ones are metallb.io/")


def test_the_quota_belongs_elsewhere() -> None:
    (warning,) = annotation_warnings(annotated_with({"admitlb.io/ip-quota": "3"}), None)
    assert warning.endswith("it belongs on the Namespace")


def test_known_keys_empty_keys_and_keys_of_others_are_not_warned_of() -> None:
    fine = {key: "" for key in ("metallb.io/colour", *names.SERVICE_ANNOTATIONS)}
    fine |= {"metallb.io/address-pool": "main", "example.com/loadbalancerIPs": "x", "metallb.iox/a": "b"}
    assert annotation_warnings(annotated_with(fine), None) == ()


@given(st.sampled_from(names.SERVICE_ANNOTATIONS), st.data())
def test_one_slip_of_the_finger_is_understood(key: str, data: st.DataObject) -> None:
    prefix, _, name = key.partition("/")
    at = data.draw(st.integers(0, len(name) - 1))
    slips = (
        name[:at] + name[at + 1 :],
        name[:at] + "q" + name[at:],
        name[:at] + name[at].swapcase() + name[at + 1 :],
    )
    meant = nearest_annotation(f"{prefix}/{data.draw(st.sampled_from(slips))}")
    assert meant is not None
    assert meant.partition("/")[2] == name


@pytest.mark.parametrize(
    ("key", "value", "asked"),
    [
        ("metallb.io/ip-allocated-from-pool", "gold", "metallb.io/address-pool"),
        ("admitlb.io/assigned-ips", "192.0.2.9", "metallb.io/loadBalancerIPs"),
    ],
)
def test_an_assignment_written_by_hand_is_warned_of(key: str, value: str, asked: str) -> None:
    ran = lint(MAIN, annotated_with({key: value}))
    assert ran.documents[-1]["warnings"] == [
        f"annotation {key} is written by AdmitLB and its value {value!r} is not kept; ask by annotation {asked}"
    ]


def test_an_assignment_that_is_true_is_no_warning() -> None:
    shown = {"metallb.io/ip-allocated-from-pool": "main", "admitlb.io/assigned-ips": "192.0.2.0"}
    assert lint(MAIN, annotated_with(shown)).documents[-1]["warnings"] == []
    assert lint(MAIN, service("web"), annotated_with(shown)).documents[-1]["warnings"] == []


def test_a_thousand_unknown_keys_are_a_few_short_warnings() -> None:
    many = annotated_with({f"metallb.io/{'k' * 5000}-{number}": "x" for number in range(1000)})
    warnings = annotation_warnings(many, None)
    assert len(warnings) == 6
    assert sum(map(len, warnings)) < 4096


def test_a_malformed_quota_is_told_to_those_it_does_not_limit() -> None:
    bad = namespace("prod", quota="many")
    warnings = annotation_warnings(service("web"), bad)
    assert warnings == (
        "Namespace prod: metadata.annotations[admitlb.io/ip-quota]: 'many' on namespace prod is not a whole number; "
        "write how many addresses it may hold; until then it counts as no quota",
    )


def test_an_empty_pool_annotation_is_served_like_none() -> None:
    assert plan(MAIN, service("web", annotations={"address-pool": ""})).states == {"web": "Assigned"}


def test_an_assignment_changed_by_hand_is_warned_of() -> None:
    ran = lint(MAIN, service("web"), annotated_with({"admitlb.io/assigned-ips": "192.0.2.9"}))
    (warning,) = ran.documents[-1]["warnings"]
    assert "its value '192.0.2.9' is not kept" in warning
