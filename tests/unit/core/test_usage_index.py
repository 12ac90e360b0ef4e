"""Usage that is kept up to date is what counting everything anew says, whatever changes in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, disjoint, overlaps
from allocator.core.usage import Usage, UsageIndex, usage_of
from tests.unit.core.builders import apply, ask, pool

NAMES = ("one", "two", "three")
RANGES = ("192.0.2.0-192.0.2.3", "192.0.2.2-192.0.2.6", "192.0.2.7", "2001:db8::/126", "192.0.2.4/30")

pools = st.builds(
    lambda name, ranges, excluded: pool(name, *ranges, excluded=pool("x", *excluded).ranges),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(RANGES), min_size=1, max_size=2, unique=True),
    st.lists(st.just("192.0.2.1"), max_size=1),
)
claims = st.builds(
    lambda address, name, state: Claim(
        address=Address.parse(address), pool=name, state=state, holders=(Holder(namespace="prod", name="web"),)
    ),
    st.sampled_from([f"192.0.2.{last}" for last in range(9)] + ["2001:db8::", "2001:db8::1", "2001:db8::9"]),
    st.sampled_from([*NAMES, "gone"]),
    st.sampled_from(ClaimState),
)
steps = st.lists(
    st.one_of(claims, pools, st.sampled_from(NAMES), claims.map(lambda claim: claim.address)), max_size=30
)


@given(steps)
def test_the_index_says_what_counting_anew_says(steps: list[Claim | Pool | str | Address]) -> None:
    ledger, index = Ledger(), UsageIndex()
    known: dict[str, Pool] = {}

    def concerning(name: str, there: Pool | None) -> list[Claim]:
        found = {claim.address: claim for claim in ledger.recorded_for(name)}
        for owned in there.ranges if there is not None else ():
            found.update((claim.address, claim) for claim in ledger.within(owned))
        return list(found.values())

    for step in steps:
        if isinstance(step, Claim):
            ledger.put(step)
            index.put(step)
        elif isinstance(step, Address):
            ledger.discard(step)
            index.discard(step)
        else:
            known = {
                name: one for name, one in known.items() if name != (step if isinstance(step, str) else step.name)
            }
            if isinstance(step, Pool):
                known[step.name] = step
            index.change_pools(known, concerning)
        expected = usage_of(known, ledger)
        found = index.all()
        assert found.keys() == expected.keys()
        for name, usage in expected.items():
            assert found[name].assigned == usage.assigned
            assert found[name].inside == usage.inside
            assert found[name].strays == usage.strays


@given(st.lists(pools, max_size=4, unique_by=lambda one: one.name))
def test_pools_are_disjoint_exactly_when_no_two_ranges_overlap(listed: list[Pool]) -> None:
    assert disjoint(listed) == (not any(overlaps(one, listed) for one in listed))


FAMILIES = {Family.IPV4: "192.0.2.", Family.IPV6: "2001:db8::"}
held = st.sampled_from([*range(8)])
used = st.dictionaries(held, st.sampled_from(ClaimState), max_size=8)


@given(st.sampled_from(Family), st.sampled_from(["0/30", "0/29", "0-{0}5", "1-{0}6"]), st.booleans(), used)
def test_as_many_services_as_are_said_to_be_served_without_asking_are(
    family: Family, text: str, excludes: bool, states: dict[int, ClaimState]
) -> None:
    """Whoever holds what, or left it to cool: the subnet-router anycast, excluded ones and strays included."""
    start = FAMILIES[family]
    written = start + text.format(start)
    if family is Family.IPV6:
        written = written.replace("::0/30", "::/126").replace("::0/29", "::/125")
    one = pool("one", written, excluded=pool("x", f"{start}2").ranges if excludes else ())
    ledger = Ledger()
    for last, state in states.items():
        holder = Holder(namespace="prod", name=f"held-{last}", uid="u")
        ledger.put(
            Claim(address=Address.parse(f"{start}{last}"), pool="one", state=state, holders=(holder,), version="1")
        )
    available = usage_of({"one": one}, ledger).get("one", Usage()).available(one, family)
    served = 0
    while (
        decision := decide(asked := ask(f"new-{served}", families=(family,)), pools=[one], ledger=ledger)
    ).placements:
        apply(decision, asked, ledger)
        served += 1
    assert served == available
