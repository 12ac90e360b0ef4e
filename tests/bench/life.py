"""One Service's life: until its address is known, until status shows it, and what all of it writes to the API."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.api_writes import ApiWrites
from tests.bench.arrivals import Arrivals
from tests.bench.figures import Figure, quantile
from tests.bench.site import Site, new_service

SECTION = "a Service's life, one after another (etcd without fsync)"

_LIVES = 200


def measure(site: Site) -> Iterator[Figure]:
    """Yield how long a Service waits for its address, and how many writes its life takes."""
    past, past_shown = _lives(site, past_the_webhook=True)
    site.clean()
    before = ApiWrites.counted_by(site.control_plane)
    known, shown = _lives(site, past_the_webhook=False)
    site.clean()
    writes = ApiWrites.counted_by(site.control_plane) - before
    for share, target in ((0.5, 20.0), (0.95, 40.0)):
        yield Figure(
            section=SECTION,
            what=f"create until the address is known, in the create's own answer, p{share * 100:.0f}",
            value=quantile(known, share),
            unit="ms",
            target=target,
            baseline="ms until the answer to a create without the webhook, which has no address",
            baseline_value=quantile(past, share),
        )
    for share, target in ((0.5, 40.0), (0.95, 80.0)):
        yield Figure(
            section=SECTION,
            what=f"create until status.loadBalancer.ingress, p{share * 100:.0f}",
            value=quantile(shown, share),
            unit="ms",
            target=target,
            baseline="ms without the webhook, the reconciler assigning",
            baseline_value=quantile(past_shown, share),
        )
    ours = writes.for_services()
    listed = ", ".join(f"{what} {count / _LIVES:.3g}" for what, count in ours.items())
    pools = ", ".join(f"{what} {count}" for what, count in writes.for_pools().items())
    yield Figure(
        section=SECTION,
        what="writes to the API per life, create to collected, Events included",
        value=sum(ours.values()) / _LIVES,
        unit="writes",
        target=6.0,
        baseline="writes per life by its user: create, delete",
        baseline_value=writes.of_users() / _LIVES,
        remark=f"{listed}; for the pool, in all {_LIVES} lives together: {pools or 'none'}",
    )


def _lives(site: Site, *, past_the_webhook: bool) -> tuple[list[float], list[float]]:
    """Create Services one after another, each once the last one's status was seen; both waits in ms."""
    known: list[float] = []
    shown: list[float] = []
    with Arrivals.of(site.control_plane) as arrivals:
        for _ in range(_LIVES):
            document = new_service(past_the_webhook=past_the_webhook)
            # Without a selector Kubernetes' own controllers write nothing, so that every write counted is ours.
            del document["spec"]["selector"]
            waited = arrivals.create(document)
            known.append(waited.known_ms)
            shown.append(waited.shown_ms)
    return known, shown
