"""The webhook's HTTP surface: whatever is sent, the answer says whose fault it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.unit.webhook.reviews import review
from webhook.app import BODY_LIMIT_BYTES, NotReady, create_app
from webhook.review import AdmissionRequest, Answer
from webhook.tls import TimedSocket

PATH = "/mutate-v1-service"


def decide(request: AdmissionRequest) -> Answer:
    """Stand in for the real decision: the object's name says what to do."""
    match request.name:
        case "broken":
            raise RuntimeError("a defect")
        case "early":
            raise NotReady("pools are not listed yet")
        case "forbidden":
            return Answer(allowed=False, code=403, message="quota reached")
        case _:
            return Answer(warnings=(f"hello {request.username}",))


@pytest.fixture
def client() -> FlaskClient:
    return create_app({PATH: decide}).test_client()


def count(outcome: str, operation: str = "CREATE") -> float:
    labels = {"path": PATH, "operation": operation, "outcome": outcome}
    return REGISTRY.get_sample_value("admitlb_admission_requests_total", labels) or 0.0


def test_a_review_is_answered_with_its_uid(client: FlaskClient) -> None:
    answer = client.post(PATH, json=review())
    assert answer.status_code == 200
    assert answer.get_json()["response"] == {
        "uid": review()["request"]["uid"],
        "allowed": True,
        "warnings": ["hello alice"],
    }


def test_a_denial_is_a_successful_answer(client: FlaskClient) -> None:
    answer = client.post(PATH, json=review(name="forbidden"))
    assert answer.status_code == 200
    assert answer.get_json()["response"]["status"]["code"] == 403


def test_a_handler_knows_since_when_a_review_has_waited() -> None:
    asked: list[AdmissionRequest] = []

    def handler(request: AdmissionRequest) -> Answer:
        asked.append(request)
        return Answer()

    client = create_app({PATH: handler}).test_client()
    connection = TimedSocket.__new__(TimedSocket)
    connection.received_at = 17.5
    client.post(PATH, json=review(), environ_overrides={"gunicorn.socket": connection})
    client.post(PATH, json=review())
    assert [one.received_at for one in asked] == [17.5, None]


def test_the_query_of_the_api_server_is_ignored(client: FlaskClient) -> None:
    assert client.post(f"{PATH}?timeout=3s", json=review()).status_code == 200


def test_a_defect_is_a_500_with_its_trace_in_the_log_only(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(PATH, json=review(name="broken"))
    assert answer.status_code == 500
    assert "defect" not in answer.get_data(as_text=True)
    (record,) = caplog.records
    assert record.getMessage() == "admission.failed"
    assert record.exc_info is not None


def test_not_being_ready_to_decide_is_a_503_without_noise(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(PATH, json=review(name="early"))
    assert answer.status_code == 503
    assert answer.get_json()["message"] == "pools are not listed yet"
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("web", "allowed"), ("forbidden", "denied"), ("broken", "error"), ("early", "not_ready")],
)
def test_every_outcome_is_counted(client: FlaskClient, name: str, outcome: str) -> None:
    before = count(outcome)
    client.post(PATH, json=review(name=name))
    assert count(outcome) == before + 1


def test_malformed_reviews_are_counted(client: FlaskClient) -> None:
    before = count("malformed", operation="")
    client.post(PATH, json={})
    assert count("malformed", operation="") == before + 1


def test_a_malformed_review_is_told_where(client: FlaskClient) -> None:
    answer = client.post(PATH, json=review(uid=""))
    assert answer.status_code == 400
    assert answer.get_json()["message"] == "request.uid: missing or empty"


def test_only_json_is_taken(client: FlaskClient) -> None:
    answer = client.post(PATH, data=json.dumps(review()), content_type="text/plain")
    assert (answer.status_code, answer.get_json()["code"]) == (415, 415)


def test_a_get_says_that_the_route_is_there_and_decides_nothing(client: FlaskClient) -> None:
    before = count("allowed")
    assert (client.get(PATH).status_code, client.get(PATH).text) == (200, "ok\n")
    assert count("allowed") == before


def test_nothing_else_is_taken(client: FlaskClient) -> None:
    answer = client.put(PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_an_unknown_path_is_a_404_in_json(client: FlaskClient) -> None:
    answer = client.post("/mutate-v1-pod", json=review())
    assert (answer.status_code, answer.get_json()["code"]) == (404, 404)


def test_a_body_over_the_limit_is_refused(client: FlaskClient) -> None:
    answer = client.post(PATH, data=b" " * (BODY_LIMIT_BYTES + 1), content_type="application/json")
    assert answer.status_code == 413


def test_two_objects_as_large_as_etcd_takes_fit(client: FlaskClient) -> None:
    padding = {"metadata": {"annotations": {"a": "x" * 1_500_000}}}
    answer = client.post(PATH, json=review(operation="UPDATE", object=padding, oldObject=padding))
    assert answer.status_code == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_answered_with_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post(PATH, data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (400, 400)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(sorted(review()["request"])),
    st.recursive(
        st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
def test_any_value_in_any_field_is_answered_with_200_or_400(client: FlaskClient, field: str, value: Any) -> None:
    answer = client.post(PATH, json=review(**{field: value}))
    assert answer.status_code in ((200,) if value == review()["request"].get(field) else (200, 400))
