"""What is taken for an AdmissionReview, and what the API server gets back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.webhook.reviews import SERVICE, review
from webhook.review import (
    WARNING_CHARACTERS,
    WARNINGS_TOTAL_CHARACTERS,
    AdmissionRequest,
    Answer,
    MalformedReview,
    fit_warnings,
    parse,
    render,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def parsed(**request: Any) -> AdmissionRequest:
    return parse(json.dumps(review(**request)).encode())


def test_a_review_becomes_a_request() -> None:
    assert parsed(dryRun=True) == AdmissionRequest(
        uid="705ab4f5-6393-11e8-b7cc-42010a800002",
        operation="CREATE",
        group="",
        kind="Service",
        resource="services",
        namespace="production",
        name="web",
        object=SERVICE,
        old_object=None,
        dry_run=True,
        username="alice",
    )


def test_a_creation_by_generate_name_has_no_name() -> None:
    assert parsed(name=None).name == ""


def test_a_deletion_carries_only_the_old_object() -> None:
    request = parsed(operation="DELETE", object=None, oldObject=SERVICE)
    assert (request.object, request.old_object) == (None, SERVICE)


def test_a_subresource_is_told_apart_from_its_object() -> None:
    assert parsed(subResource="status", operation="UPDATE", oldObject=SERVICE).subresource == "status"


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"uid": ""}, "request.uid"),
        ({"uid": 7}, "request.uid"),
        ({"operation": "PATCH"}, "request.operation"),
        ({"operation": None}, "request.operation"),
        ({"kind": "Service"}, "request.kind"),
        ({"kind": {"kind": ""}}, "request.kind.kind"),
        ({"resource": None}, "request.resource"),
        ({"resource": {"resource": ["services"]}}, "request.resource.resource"),
        ({"namespace": {}}, "request.namespace"),
        ({"object": None}, "request.object"),
        ({"object": [SERVICE]}, "request.object"),
        ({"operation": "UPDATE"}, "request.oldObject"),
        ({"operation": "DELETE", "object": None}, "request.oldObject"),
        ({"dryRun": "yes"}, "request.dryRun"),
        ({"userInfo": "alice"}, "request.userInfo"),
    ],
)
def test_a_wrong_field_is_named(request_fields: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedReview) as refusal:
        parsed(**request_fields)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"AdmissionReview"',
        b"\xff\xfe{}",
        b'{"apiVersion": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "Service"}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
    ],
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedReview):
        parse(body)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_malformed_review(body: bytes) -> None:
    with pytest.raises(MalformedReview):
        parse(body)


@given(st.dictionaries(st.sampled_from(sorted(review()["request"])), json_values, min_size=1))
def test_no_field_raises_anything_but_malformed_review(fields: dict[str, Any]) -> None:
    try:
        request = parsed(**fields)
    except MalformedReview:
        return
    assert render(request.uid, Answer())["response"]["uid"] == request.uid


def test_an_allowing_answer_has_no_status_and_no_patch() -> None:
    assert render("u-1", Answer()) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": True},
    }


def test_a_patch_is_sent_as_base64_json() -> None:
    patch = ({"op": "add", "path": "/metadata/annotations", "value": {"a": "ü"}},)
    response = render("u-1", Answer(patch=patch))["response"]
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == list(patch)


def test_a_denial_carries_code_reason_and_message_but_never_a_patch() -> None:
    answer = Answer(allowed=False, code=403, message="quota reached", patch=({"op": "remove", "path": "/spec"},))
    assert render("u-1", answer)["response"] == {
        "uid": "u-1",
        "allowed": False,
        "status": {"status": "Failure", "code": 403, "reason": "Forbidden", "message": "quota reached"},
    }


def test_a_warning_is_one_line_without_control_characters() -> None:
    assert fit_warnings(["two\nlines\tand \x1b[31mred\x7f", " \n", ""]) == ("two lines and [31mred",)


def test_warnings_that_fit_together_are_not_cut() -> None:
    long = "x" * 3000
    assert fit_warnings([long]) == (long,)


def test_warnings_that_do_not_fit_are_cut_with_an_ellipsis() -> None:
    first, second = fit_warnings(["x" * 5000, "short"])
    assert first == "x" * (WARNING_CHARACTERS - 1) + "…"
    assert second == "short"


@given(st.lists(st.text(max_size=6000), max_size=60))
def test_warnings_always_fit(warnings: list[str]) -> None:
    fitted = fit_warnings(warnings)
    assert sum(map(len, fitted)) <= WARNINGS_TOTAL_CHARACTERS
    assert all(warning and not any(ord(character) < 32 for character in warning) for warning in fitted)
    assert bool(fitted) == any(fit_warnings([warning]) for warning in warnings)


def test_too_many_warnings_end_with_how_many_are_missing() -> None:
    fitted = fit_warnings([f"{number:0300}" for number in range(40)])
    assert fitted[-1] == "25 more warnings left out"
    assert len(fitted) == 16
