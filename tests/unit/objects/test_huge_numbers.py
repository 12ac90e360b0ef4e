"""Whole numbers of thousands of digits, wherever one can be written: refused as too large, and nothing breaks."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from allocator.cli import main
from allocator.objects.document import InvalidDocument
from allocator.objects.l2_advertisement import check_l2_advertisement
from allocator.objects.namespace import check_quota, quota_of
from allocator.objects.numbers import FAR_OUT, whole_number
from allocator.objects.pool import pool_from
from allocator.objects.service import identity_from, request_from
from allocator.rules.kinds import KINDS
from tests.unit.commands.manifests import Object, advertisement, lint, namespace, plan, pool, service
from tests.unit.webhook.reviews import review
from webhook.review import parse

HUGE = "9" * 5000


def written(document: Object) -> str:
    """The document as JSON, with the text that stands for it made a number of thousands of digits."""
    return json.dumps(document).replace('"HUGE"', HUGE).replace('"-HUGE"', "-" + HUGE)


def parsed(document: str) -> Object:
    """The object as the webhook reads it from a review."""
    body = json.dumps(review(object="OBJECT")).replace('"OBJECT"', document)
    found = parse(body.encode()).object
    assert found is not None
    return found


NUMBERS: dict[str, Object] = {
    "priority": pool("p", "10.0.0.1", serviceAllocation={"priority": "HUGE"}),
    "negative priority": pool("p", "10.0.0.1", serviceAllocation={"priority": "-HUGE"}),
    "delay": pool("p", "10.0.0.1", reuseDelaySeconds="HUGE"),
    "weight": advertisement("a", preferredNodeSelectors=[{"weight": "HUGE", "preference": {}}]),
    "port": service("s", ports=[{"port": "HUGE"}]),
    "negative port": service("s", ports=[{"port": "-HUGE"}]),
    "a number for text": pool("p", "HUGE"),
    "a number for a label": pool("p", "10.0.0.1") | {"metadata": {"name": "p", "labels": {"a": "HUGE"}}},
    "a number for a name": pool("p", "10.0.0.1") | {"metadata": {"name": "HUGE"}},
}
TEXTS: dict[str, Object] = {
    "prefix length": pool("p", f"10.0.0.0/{HUGE}"),
    "octet": pool("p", f"10.0.0.{HUGE}"),
    "octets with zeros": pool("p", ".".join(["0" * 5000 + "1"] * 4)),
    "end of a range": pool("p", f"10.0.0.1-{HUGE}"),
    "excluded": pool("p", "10.0.0.1", excludeAddresses=[f"10.0.0.0/{HUGE}"]),
    "quota": namespace("n", quota=HUGE),
    "pin": service("s", annotations={"loadBalancerIPs": f"10.0.0.{HUGE}"}),
    "field": service("s", loadBalancerIP=f"10.0.0.0/{HUGE}"),
}


@pytest.mark.parametrize("case", [*NUMBERS, *TEXTS])
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_lint_answers_422_in_a_short_line(case: str, form: str) -> None:
    text = written((NUMBERS | TEXTS)[case])
    stream = text if form == "json" else f"# YAML\n{text}\n"
    result = CliRunner().invoke(main, ["lint", "-", "-o", "json", "--namespace", "metallb-system"], input=stream)
    assert isinstance(result.exception, SystemExit), result.exception
    (told,) = json.loads(result.stdout)["documents"]
    assert told["code"] == 422
    assert len(told["message"]) < 1000


@pytest.mark.parametrize("case", [*NUMBERS, *TEXTS])
def test_the_rules_refuse_it_without_a_schema_before_them(case: str) -> None:
    """In the webhook nothing but our own reading stands between the request and the rules."""
    content = parsed(written((NUMBERS | TEXTS)[case]))
    checks = {"Service": request_from, **{kind.resource.kind: kind.check for kind in KINDS}}
    try:
        checks[content["kind"]](content)
    except InvalidDocument as error:
        assert len(str(error)) < 5000
    except (AttributeError, TypeError):
        # A number where text belongs: the API server's schema stands before that.
        assert case.startswith("a number for")


def test_a_review_with_such_a_number_is_parsed() -> None:
    content = parsed(written(pool("p", "10.0.0.1", reuseDelaySeconds="HUGE")))
    assert content["spec"]["reuseDelaySeconds"] == FAR_OUT


@given(st.integers(), st.integers(0, 6000), st.sampled_from(["", "-", "+"]))
def test_numbers_are_read_as_they_are_as_far_as_anything_can_hold_them(number: int, zeros: int, sign: str) -> None:
    assert whole_number(str(number)) == number
    text = f"{sign}1{'0' * zeros}"
    assert abs(whole_number(text)) == min(10**zeros, FAR_OUT)


@given(st.text("0123456789", min_size=1, max_size=6000).map(lambda digits: digits * 3))
def test_text_of_digits_breaks_no_reader(digits: str) -> None:
    for document in (
        namespace("n", quota=digits),
        service("s", annotations={"loadBalancerIPs": digits, "address-pool": digits, "allow-shared-ip": digits}),
    ):
        quota_of(document)
        identity_from({**document, "metadata": {**document["metadata"], "namespace": "n"}})
        for check in (check_quota, request_from, pool_from, check_l2_advertisement):
            try:
                check(document)
            except (InvalidDocument, KeyError) as error:
                assert len(str(error)) < 5000


def test_plan_goes_on_with_the_rest() -> None:
    told = plan(pool("main", "192.0.2.1"), namespace("prod", quota=HUGE), service("web"))
    assert told.states == {"web": "Assigned"}
    assert lint(namespace("prod", quota=HUGE)).codes == [422]
