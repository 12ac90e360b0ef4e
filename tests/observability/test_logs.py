"""One line for each change of an address's state, and the same lines by address as by Service."""

from __future__ import annotations

from pathlib import Path

from allocator.objects.names import DEFAULT_NAMESPACE, IP_ALLOCATIONS
from tests.bench.speaker_site import SpeakerSite
from tests.lab.waiting import wait_until
from tests.observability import misfortunes

ADDRESS = "203.0.113.37"
SERVICE = "default/story"
SECONDS = 30.0


def told(site: SpeakerSite, word: str) -> list[tuple[str, str]]:
    """Return every event whose line has the word, in the order of time, with the component that says so."""
    lines = []
    for path in (site.lab.directory / "pods").glob(f"{DEFAULT_NAMESPACE}_*/*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if word in line.split():
                fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
                lines.append((fields["ts"], writer_of(site, path), fields["event"]))
    return [(who, event) for _, who, event in sorted(lines)]


def writer_of(site: SpeakerSite, path: Path) -> str:
    if path.stem != "speaker":
        return path.stem
    name = path.parent.name.removeprefix(f"{DEFAULT_NAMESPACE}_")
    pods = site.lab.pods(DEFAULT_NAMESPACE, "component=speaker")
    node = next(pod["spec"]["nodeName"] for pod in pods if pod["metadata"]["name"] == name)
    return f"speaker of {node}"


def test_the_life_of_a_service_can_be_read_from_the_logs(site: SpeakerSite) -> None:
    with misfortunes.services(site.lab, "story", app="web", loadBalancerIPs=ADDRESS):
        first = site.announcer(address=ADDRESS)
        with misfortunes.lost(site, first):
            second = site.announcer(other_than=first, address=ADDRESS)
        wait_until(
            lambda: (f"speaker of {second.name}", "address.announced") in told(site, f"ip={ADDRESS}"),
            SECONDS,
            "the second node says that it announces",
        )
        assert told(site, f"ip={ADDRESS}") == [
            ("webhook", "address.claimed"),
            ("reconciler", "address.assigned"),
            (f"speaker of {first.name}", "address.announced"),
            (f"speaker of {second.name}", "address.announced"),
        ]

    def after() -> list[tuple[str, str]]:
        return told(site, f"ip={ADDRESS}")[4:]

    def gone() -> bool:
        held = {claim["spec"]["address"] for claim in site.lab.cluster().list(IP_ALLOCATIONS)["items"]}
        events = [event for _, event in after()]
        # A speaker that hears of the deletion later than the announcing one may take the address for a moment.
        return ADDRESS not in held and events.count("address.withdrawn") == events.count("address.announced") + 1

    wait_until(gone, SECONDS, f"{ADDRESS} is free and withdrawn")
    assert after().count(("reconciler", "address.released")) == 1
    assert (f"speaker of {second.name}", "address.withdrawn") in after()
    assert {event for _, event in after()} <= {"address.released", "address.withdrawn", "address.announced"}
    assert told(site, f"service={SERVICE}") == told(site, f"ip={ADDRESS}")
