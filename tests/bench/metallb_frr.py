"""MetalLB's way to FRR, for comparison: its form of frr.conf, its debounce, and Debian's own frr-reload.py.

What it renders is described by MetalLB internal/bgp/frr/templates (v0.15): filters of one line a prefix, numbered in
the sorted order of prefixes. What it runs at a change is frr-tools/reloader/frr-reloader.sh: `frr-reload.py --test`,
then `--reload --overwrite`. Its Go code is not here: the time from the API server to the speaker is not counted.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.debian_root import DebianRoot, find_root
from tests.lab.frr_daemons import FrrDaemons
from tests.lab.frr_programs import RELOAD_PACKAGES, SUITES

DEBOUNCE_SECONDS = 3.0
"""MetalLB internal/bgp/frr/config.go: from the first change on, however many follow."""

_RELOAD = "/usr/lib/frr/frr-reload.py"
_CONFIGURATION = "/etc/frr"
_RELOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetalLbSession:
    """One neighbour, as MetalLB renders a BGPPeer; `communities` are set on all of its prefixes."""

    address: str
    own_asn: int
    peer_asn: int
    router_id: str
    hold_seconds: int = 90
    connect_seconds: int = 1
    bfd_profile: str = ""


def frr_conf(
    sessions: Sequence[MetalLbSession], prefixes: Iterable[str], *, community: str = "", bfd: Sequence[str] = ()
) -> str:
    """Return the configuration for sessions that get all the prefixes, of both families."""
    ordered = sorted(prefixes)
    of_families = {
        "ip": [each for each in ordered if ":" not in each],
        "ipv6": [each for each in ordered if ":" in each],
    }
    lines = ["log stdout informational", "log timestamp precision 3", "hostname node"]
    lines += ["ip nht resolve-via-default", "ipv6 nht resolve-via-default"]
    for session in sessions:
        lines += _filters(session.address, of_families, community)
    lines += _router(sessions, of_families)
    return "\n".join([*lines, *bfd, ""])


def _filters(neighbor: str, of_families: dict[str, list[str]], community: str) -> Iterator[str]:
    yield f"route-map {neighbor}-in deny 20"
    number = 0
    for family, prefixes in of_families.items():
        if community and prefixes:
            number += 1
            name = f"{neighbor}-{community}-{'ipv4' if family == 'ip' else 'ipv6'}-community-prefixes"
            yield from (
                f"{family} prefix-list {name} seq {seq} permit {each}" for seq, each in enumerate(prefixes, 1)
            )
            yield f"route-map {neighbor}-out permit {number}"
            yield f"  match {family} address prefix-list {name}"
            yield f"  set community {community} additive"
            yield "  on-match next"
    for family, prefixes in of_families.items():
        name = _allowed(neighbor, family)
        if not prefixes:
            yield f"{family} prefix-list {name} seq 1 deny any"
        yield from (f"{family} prefix-list {name} seq {seq} permit {each}" for seq, each in enumerate(prefixes, 1))
    for family in of_families:
        number += 1
        yield f"route-map {neighbor}-out permit {number}"
        yield f"  match {family} address prefix-list {_allowed(neighbor, family)}"


def _router(sessions: Sequence[MetalLbSession], of_families: dict[str, list[str]]) -> Iterator[str]:
    first = sessions[0]
    yield f"router bgp {first.own_asn}"
    yield from ("  no bgp ebgp-requires-policy", "  no bgp network import-check", "  no bgp default ipv4-unicast")
    yield "  bgp graceful-restart preserve-fw-state"
    yield f"  bgp router-id {first.router_id}"
    for session in sessions:
        neighbor = f"  neighbor {session.address}"
        yield f"{neighbor} remote-as {session.peer_asn}"
        yield f"{neighbor} timers {session.hold_seconds // 3} {session.hold_seconds}"
        yield f"{neighbor} timers connect {session.connect_seconds}"
        if session.bfd_profile:
            yield f"{neighbor} bfd"
            yield f"{neighbor} bfd profile {session.bfd_profile}"
    for session in sessions:
        yield f"  address-family {'ipv6' if ':' in session.address else 'ipv4'} unicast"
        yield f"    neighbor {session.address} activate"
        yield f"    neighbor {session.address} route-map {session.address}-in in"
        yield f"    neighbor {session.address} route-map {session.address}-out out"
        yield "  exit-address-family"
    for family, prefixes in of_families.items():
        if prefixes:
            yield f"  address-family {'ipv4' if family == 'ip' else 'ipv6'} unicast"
            yield from (f"    network {each}" for each in prefixes)
            yield "  exit-address-family"


def _allowed(neighbor: str, family: str) -> str:
    return f"{neighbor}-allowed-{'ipv4' if family == 'ip' else 'ipv6'}"


class MetalLbFrr:
    """Reloads the FRR of a node; one thread. `folder` takes the file that it reads."""

    def __init__(self, root: DebianRoot, frr: FrrDaemons, *, netns: str, folder: Path) -> None:
        self._root = root
        self._frr = frr
        self._netns = netns
        self._folder = folder
        (folder / "pam").mkdir(parents=True, exist_ok=True)
        (folder / "vtysh.conf").write_text("service integrated-vtysh-config\n")
        for service in ("frr", "other"):
            (folder / "pam" / service).write_text("auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n")

    def change(self, configuration: str) -> None:
        """Wait as MetalLB does for more changes, and reload."""
        time.sleep(DEBOUNCE_SECONDS)
        self.reload(configuration)

    def reload(self, configuration: str) -> None:
        """Have FRR be configured so. Raises RuntimeError with what frr-reload.py says where it fails."""
        (self._folder / "frr.conf").write_text(configuration)
        self._run("--test")
        self._run("--reload", "--overwrite")

    def _run(self, *options: str) -> None:
        # vtysh asks PAM whose files Debian's scripts would have made.
        binds = {self._frr.sockets: "/run/frr", self._folder: _CONFIGURATION, self._folder / "pam": "/etc/pam.d"}
        arguments = [*options, "--stdout", f"{_CONFIGURATION}/frr.conf"]
        command = self._root.command("/usr/bin/python3", _RELOAD, *arguments, binds=binds)
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._netns}", *command],
            capture_output=True,
            text=True,
            timeout=_RELOAD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"frr-reload.py {' '.join(options)} ended with {done.returncode}: {done.stdout[-2000:]}"
            )


def find_reload(release: str) -> DebianRoot | None:
    """Return the root with a release's frr-reload.py, None where set-up could not fetch it."""
    return find_root(SUITES[release], RELOAD_PACKAGES)
