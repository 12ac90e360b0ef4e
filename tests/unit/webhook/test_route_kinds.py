"""A token opens one route: what the body says is reviewed there opens no other."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from allocator.kube import resource
from allocator.rules.kinds import KINDS
from tests.unit.webhook.reviews import review
from webhook.app import create_app
from webhook.review import AdmissionRequest, Answer
from webhook.routes import ROUTES, SERVICES, only_its_kinds

ROUTE_OF = {
    (resource.SERVICES.group, resource.SERVICES.kind): SERVICES,
    **{(kind.resource.group, kind.resource.kind): kind.path for kind in KINDS},
    ("", "Pod"): None,
    ("apps", "Service"): None,
    ("admitlb.io", "IPAllocation"): None,
}
asked: list[AdmissionRequest] = []


def decide(request: AdmissionRequest) -> Answer:
    asked.append(request)
    return Answer()


@pytest.fixture
def client() -> FlaskClient:
    asked.clear()
    return create_app({route: only_its_kinds(route, decide) for route in ROUTES}).test_client()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", ROUTE_OF, ids="/".join)
def test_each_route_answers_for_its_own_kinds_and_for_no_others(
    client: FlaskClient, route: str, kind: tuple[str, str]
) -> None:
    body = review(kind={"group": kind[0], "version": "v1", "kind": kind[1]})
    answer = client.post(route, json=body)
    mine = ROUTE_OF[kind] == route
    assert answer.status_code == (200 if mine else 400)
    assert len(asked) == mine
