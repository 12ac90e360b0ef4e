"""What a client notices when announcing moves: each function makes it happen once and returns what was seen.

`python -m tests.lab.enter -- python -m tests.bench speaker-kill --runs 20` and the like make it happen many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from allocator.objects.names import DEFAULT_NAMESPACE
from tests.bench.figures import Figure
from tests.bench.speaker_site import SpeakerSite
from tests.lab.node import Node
from tests.lab.outage import Report as Outage
from tests.lab.workloads import DAEMON_SETS

ROLLOUT_RATE = 200.0
SECTION = "takeover, as a client sees it"
_METALLB = "MetalLB 0.16.1, same lab, IPv4"

Milliseconds = dict[str, float]
"""By address family."""


def node_killed(site: SpeakerSite) -> float:
    """Kill the announcing node; return the longest time without an answered request, in milliseconds."""
    return max(_node_killed(site).values())


def node_killed_without_api(site: SpeakerSite) -> float:
    """The same while the API server is down."""
    return max(_node_killed_without_api(site).values())


def carrier_lost(site: SpeakerSite) -> float:
    """Pull the cable of the announcing interface, the node's other one stays; return the gap in milliseconds."""
    return max(_carrier_lost(site).values())


def partition_healed(site: SpeakerSite) -> float:
    """Cut the announcing node off and heal the cut; return the milliseconds from then until one node answers again.

    The fault lies beyond the node's own cable: its interface keeps its carrier, so it goes on announcing.
    """
    announcer = site.announcer()
    site.isolate(announcer)
    try:
        for vip in site.vips.values():
            site.announcer(other_than=announcer, address=vip)
    finally:
        healed_at = site.rejoin(announcer)
    milliseconds = site.milliseconds_until_single(healed_at)
    site.steady()
    return milliseconds


def rollout(site: SpeakerSite) -> Outage:
    """Restart all speakers one after another under 200 requests a second; return what the requests by IPv4 met."""
    return rollouts(site)["IPv4"]


def rollouts(site: SpeakerSite) -> dict[str, Outage]:
    """The same for every family at once, at that rate each.

    A busy machine loses a SYN now and then with nothing going on, and a client sends the next a second later.
    """
    with site.outages(rate_per_second=ROLLOUT_RATE, patience_seconds=5.0) as meters:
        site.let_it_run(0.5)
        site.lab.kubectl("rollout", "restart", "daemonset/speaker", "-n", DEFAULT_NAMESPACE)
        site.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=90)
        site.let_it_run(0.5)
    site.steady()
    return {family: meter.report for family, meter in meters.items()}


def _node_killed(site: SpeakerSite) -> Milliseconds:
    return _gaps(site, lambda node: node.kill(), lambda node: node.revive())


def _node_killed_without_api(site: SpeakerSite) -> Milliseconds:
    site.lab.control_plane.pause_api()

    def mend(node: Node) -> None:
        site.lab.control_plane.resume_api()
        node.revive()

    try:
        return _gaps(site, lambda node: node.kill(), mend)
    finally:
        site.lab.control_plane.resume_api()


def _carrier_lost(site: SpeakerSite) -> Milliseconds:
    return _gaps(site, lambda node: node.link("eth0").down(), lambda node: node.link("eth0").up())


def _gaps(site: SpeakerSite, strike: Callable[[Node], object], mend: Callable[[Node], object]) -> Milliseconds:
    announcer = site.announcer()
    with site.outages() as meters:
        site.let_it_run(0.5)
        strike(announcer)
        site.announcer(other_than=announcer)
        site.serves()
        site.let_it_run(0.5)
    mend(announcer)
    site.steady()
    return {family: _gap(meter.report) for family, meter in meters.items()}


def _gap(outage: Outage) -> float:
    if outage.longest_gap.ended >= outage.ended:
        raise AssertionError(f"requests were not answered again: {outage.summary()}")
    return outage.longest_gap_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfortune:
    """Something that happens to the announcing node, and what of it a client may notice, in milliseconds."""

    what: str
    happen: Callable[[SpeakerSite], Milliseconds]
    worst: float
    median: float | None = None
    metallb_median: float = 0.0
    metallb_worst: float = 0.0


NODE_KILLED = Misfortune(
    what="node killed, longest HTTP gap",
    happen=_node_killed,
    median=600.0,
    worst=1000.0,
    metallb_median=5900.0,
    metallb_worst=7977.0,
)
NODE_KILLED_WITHOUT_API = Misfortune(
    what="node killed while the API server is down, longest HTTP gap", happen=_node_killed_without_api, worst=1200.0
)
CARRIER_LOST = Misfortune(
    what="announcing interface loses carrier, longest HTTP gap", happen=_carrier_lost, worst=300.0
)
PARTITION_HEALED = Misfortune(
    what="partition healed, until only one node answers",
    happen=lambda site: {"both families": partition_healed(site)},
    worst=600.0,
)


def measure(site: SpeakerSite, misfortune: Misfortune, *, runs: int) -> Iterator[Figure]:
    """Make it happen `runs` times; yield median and worst for each family."""
    happened = [misfortune.happen(site) for _ in range(runs)]
    for family in happened[0]:
        gaps = [gap[family] for gap in happened]
        for name, value, target, baseline in (
            ("median", median(gaps), misfortune.median, misfortune.metallb_median),
            ("worst", max(gaps), misfortune.worst, misfortune.metallb_worst),
        ):
            yield Figure(
                section=SECTION,
                what=f"{misfortune.what}, {family}: {name} of {runs}",
                value=value,
                unit="ms",
                baseline=_METALLB if baseline else "",
                baseline_value=baseline,
                target=target,
                samples=tuple(round(gap, 1) for gap in gaps),
            )


def measure_rollouts(site: SpeakerSite, *, runs: int) -> Iterator[Figure]:
    """Roll all speakers out `runs` times; yield how many requests failed, and the longest gap, for each family."""
    outages = [rollouts(site) for _ in range(runs)]
    for family in outages[0]:
        met = [outage[family] for outage in outages]
        yield Figure(
            section=SECTION,
            what=f"requests failed in {runs} rollouts of all speakers at {ROLLOUT_RATE:g}/s, {family}",
            value=float(sum(len(outage.failures) for outage in met)),
            unit="requests",
            baseline="of requests made",
            baseline_value=float(sum(outage.requests for outage in met)),
            target=0.0,
            remark="; ".join(outage.summary() for outage in met if outage.failures),
            samples=tuple(float(len(outage.failures)) for outage in met),
        )
        gaps = [outage.longest_gap_ms for outage in met]
        late = max(outage.latest_start_seconds for outage in met)
        yield Figure(
            section=SECTION,
            what=f"longest gap in a rollout, {family}: worst of {runs}",
            value=max(gaps),
            unit="ms",
            baseline="by which the asking program was late itself, at worst",
            baseline_value=1000 * late,
            samples=tuple(round(gap, 1) for gap in gaps),
        )
