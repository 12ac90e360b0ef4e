"""What FRR refuses is refused at apply: each field at its edges, by AdmitLB's rules and by real bgpd and bfdd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.resource import Resource
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS
from tests.frr import commands
from tests.frr.commands import Commands
from tests.frr.daemons import Daemons
from tests.frr.fields import (
    ADVERTISEMENT,
    ADVERTISEMENT_OTHERWISE,
    BARE,
    ENDPOINTS,
    PEER,
    PEER_OTHERWISE,
    PROFILE,
    REMOTES,
    TYPICAL,
    Row,
    peers_of_two_fields,
)
from tests.lab.frr_programs import SUITES
from tests.unit.commands.bgp_manifests import bgp_advertisement, judge, peer, profile
from tests.unit.commands.manifests import Object
from tests.unit.rules.test_bgp_invariants import fields_of

Case = tuple[Resource, str, Row]


def _cases() -> Iterator[Case]:
    for kind, table in ((BGP_PEERS, PEER), (BGP_ADVERTISEMENTS, ADVERTISEMENT), (BFD_PROFILES, PROFILE)):
        for field, rows in table.items():
            yield from ((kind, field, row) for row in rows)


CASES = list(_cases())


def objects_of(kind: Resource, row: Row) -> list[Object]:
    if kind is BFD_PROFILES:
        return [
            profile(row.spec.get("name", "p"), **{key: value for key, value in row.spec.items() if key != "name"})
        ]
    if kind is BGP_ADVERTISEMENTS:
        return [bgp_advertisement(**row.spec)]
    base = dict.fromkeys(("peerASN", "peerAddress", "holdTime")) | (row.base if row.base is not None else BARE)
    last = peer(**{**base, **row.spec})
    return [last] if row.beside is None else [peer("other", **{**base, **row.beside}), last]


def commands_of(kind: Resource, objects: list[Object]) -> Commands:
    specs = [one["spec"] for one in objects]
    if kind is BFD_PROFILES:
        return commands.of_profile(objects[0]["metadata"]["name"], specs[0])
    return commands.of_advertisement(specs[0]) if kind is BGP_ADVERTISEMENTS else commands.of_peers(specs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].kind}-{case[1]}-{str(case[2].spec)[:50]}")
def test_what_is_admitted_is_taken_and_what_is_refused_besides_has_its_reason(daemons: Daemons, case: Case) -> None:
    kind, _, row = case
    objects = objects_of(kind, row)
    answered = judge(*objects).documents[-1]
    refusals = daemons.refusals(commands_of(kind, objects))
    if answered["allowed"]:
        assert refusals == [], "admitted, and FRR refuses it"
        assert row.why == "", "a reason for a refusal that is none"
    elif not refusals:
        assert row.why, f"FRR takes it: {answered['message']}"


def test_every_reason_is_of_a_row_that_some_release_takes(all_daemons: dict[str, Daemons]) -> None:
    if len(all_daemons) < len(SUITES):
        pytest.skip(f"needs all of FRR {', '.join(SUITES)}")
    stale = [
        (field, row.spec)
        for kind, field, row in CASES
        if row.why and all(one.refusals(commands_of(kind, objects_of(kind, row))) for one in all_daemons.values())
    ]
    assert stale == []


def test_any_two_fields_that_are_admitted_together_are_taken_together(daemons: Daemons) -> None:
    refused = {}
    for spec in peers_of_two_fields():
        if judge(peer(**{**dict.fromkeys(("peerASN", "peerAddress", "holdTime")), **spec})).codes == [200]:
            replies = daemons.refusals(commands.of_peers([spec]))
            refused.update({str(spec): [str(reply) for reply in replies]} if replies else {})
    assert refused == {}


def test_any_two_fields_are_all_of_the_schema() -> None:
    named = {name for fields in (*ENDPOINTS, *REMOTES, *TYPICAL) for name in fields}
    assert named == PEER.keys() - {"of one node", "myASN"}


@pytest.mark.parametrize(
    ("kind", "tried"),
    [
        (BGP_PEERS, {*PEER, *PEER_OTHERWISE} - {"of one node"}),
        (BGP_ADVERTISEMENTS, {*ADVERTISEMENT, *ADVERTISEMENT_OTHERWISE}),
        (BFD_PROFILES, {*PROFILE} - {"metadata.name"}),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
def test_every_field_of_the_schema_has_its_rows_or_a_reason_for_none(kind: Resource, tried: set[str]) -> None:
    assert tried == fields_of(f"{kind.plural}.{kind.group}")
