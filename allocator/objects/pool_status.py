"""What IPAddressPool.status says of the LAN: the addresses that come next, and the foreign hosts that were heard.

The reconciler writes `nextAddresses`, speakers write `foreignHosts`, each with merge patches that name nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from allocator.core.addresses import Address, AddressError
from allocator.core.claims import ForeignHost
from allocator.core.conflicts import MARKED_AT_MOST, NEXT_ADDRESSES
from allocator.core.pools import Pool
from allocator.objects.document import Document

NEXT_ADDRESSES_FIELD: Final = "nextAddresses"
FOREIGN_HOSTS_FIELD: Final = "foreignHosts"

_READ_AT_MOST: Final = 2 * (MARKED_AT_MOST + 2 * NEXT_ADDRESSES)
_MAC: Final = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
_NAME_CHARACTERS: Final = 253


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry of `foreignHosts`."""

    host: ForeignHost
    last_heard: str
    """When, as the speaker wrote it; it writes again from time to time while the host is there."""


def answers_in(document: Document | None) -> dict[Address, Answer]:
    """Read who answers for which address. What cannot be read, or is more than speakers write, is left out."""
    entries = _status(document).get(FOREIGN_HOSTS_FIELD)
    if not isinstance(entries, Mapping):
        return {}
    found = {}
    for text, entry in list(entries.items())[:_READ_AT_MOST]:
        address, answer = _address(text), _answer(entry)
        if address is not None and answer is not None:
            found[address] = answer
    return found


def unreadable_entries(document: Document | None) -> tuple[str, ...]:
    """Return the keys of entries that `answers_in` leaves out."""
    entries = _status(document).get(FOREIGN_HOSTS_FIELD)
    if not isinstance(entries, Mapping):
        return ()
    read = {str(address) for address in answers_in(document)}
    return tuple(text for text in entries if text not in read)


def asked_addresses(document: Document | None, pool: Pool) -> tuple[Address, ...]:
    """Return the addresses that speakers ask the LAN about: those of the pool that come next or were answered for."""
    status = _status(document)
    listed = status.get(NEXT_ADDRESSES_FIELD)
    texts = listed[: 2 * NEXT_ADDRESSES] if isinstance(listed, list) else []
    found = [address for text in texts if (address := _address(text)) is not None]
    found += answers_in(document)
    return tuple(address for address in dict.fromkeys(found) if pool.contains(address))


def answer_document(answer: Answer) -> dict[str, Any]:
    """Write an entry of `foreignHosts`."""
    host = answer.host
    return {
        "hardwareAddress": host.mac,
        "node": host.node,
        "interface": host.interface,
        "lastHeard": answer.last_heard,
    }


def _status(document: Document | None) -> Mapping[str, Any]:
    status: Mapping[str, Any] = (document or {}).get("status") or {}
    return status


def _answer(entry: Any) -> Answer | None:
    if not isinstance(entry, Mapping):
        return None
    texts = [entry.get(field, "") for field in ("hardwareAddress", "node", "interface", "lastHeard")]
    if not all(isinstance(text, str) and len(text) <= _NAME_CHARACTERS for text in texts) or not _MAC.match(texts[0]):
        return None
    mac, node, interface, last_heard = texts
    return Answer(ForeignHost(mac=mac, node=node, interface=interface), last_heard)


def _address(text: Any) -> Address | None:
    if not isinstance(text, str):
        return None
    try:
        address = Address.parse(text)
    except AddressError:
        return None
    return address if str(address) == text else None
