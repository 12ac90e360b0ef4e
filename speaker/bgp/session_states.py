"""What bgpd says of its sessions (`show bgp neighbors json`), as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from allocator.bgp.inputs import Peer
from allocator.core.addresses import Family
from speaker.bgp.reports import SessionState
from speaker.bgp.running_config import neighbor_id

_FAMILIES = (("ipv4Unicast", Family.IPV4), ("ipv6Unicast", Family.IPV6))


def command_for(vrf: str) -> str:
    """Return the command whose answer `session_states` reads."""
    return f"show bgp vrf {vrf} neighbors json" if vrf else "show bgp neighbors json"


def session_states(answer: str, vrf: str, peers: Iterable[Peer]) -> dict[str, SessionState]:
    """Read bgpd's answer for a VRF: the states of those of its peers that it has. Raises ValueError for no JSON."""
    found = json.loads(answer or "{}")
    if not isinstance(found, dict):
        raise ValueError("bgpd's answer is no object")
    states = {}
    named = {neighbor_id(name): said for name, said in found.items()}
    for peer in peers:
        said = named.get(peer.id)
        if peer.vrf == vrf and isinstance(said, dict) and "bgpState" in said:
            states[peer.name] = _state(peer, said)
    return states


def _state(peer: Peer, said: Mapping[str, Any]) -> SessionState:
    families: Mapping[str, Mapping[str, Any]] = said.get("addressFamilyInfo") or {}
    state = str(said["bgpState"])
    since = said.get("bgpTimerUpEstablishedEpoch")
    capabilities = (said.get("neighborCapabilities") or {}).get("multiprotocolExtensions") or {}
    return SessionState(
        peer=peer.name,
        vrf=peer.vrf,
        neighbor=peer.id,
        state=state,
        port=int(said.get("portForeign") or peer.port),
        established_at=float(since) if state == "Established" and since is not None else None,
        last_reset=str(said.get("lastResetDueTo") or ""),
        last_error=str(said.get("lastErrorCodeSubcode") or "") if said.get("lastErrorCodeSubcode") != "0000" else "",
        drops=int(said.get("connectionsDropped") or 0),
        sent_prefixes=sum(int(each.get("sentPrefixCounter") or 0) for each in families.values()),
        families=tuple(
            family.value for name, family in _FAMILIES if (capabilities.get(name) or {}).get("advertisedAndReceived")
        ),
        bfd=str((said.get("peerBfdInfo") or {}).get("status") or ""),
        message_counts={
            name: value for name, value in (said.get("messageStats") or {}).items() if isinstance(value, int)
        },
    )
