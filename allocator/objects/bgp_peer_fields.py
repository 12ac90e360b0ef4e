"""The fields of a BGPPeer one by one, with what FRR and Linux make of them (tests/frr).

What is wrong is noted and the value returned all the same; a message never contains a password or part of one.
"""

from __future__ import annotations

import re
from typing import Final

from allocator.core.addresses import Address, AddressRange, Family, quoted, unusable_part
from allocator.objects.document import Document, Problems

_LONGEST_PASSWORD_BYTES: Final = 80
_LONGEST_INTERFACE_NAME: Final = 15
_RESERVED_DEVICES: Final = frozenset({"all", "default"})
"""Linux takes no interface of these names (net/ipv4/devinet.c); `show bgp vrf all` is about every VRF."""
_LONGEST_DESCRIPTION: Final = 200
_CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f-\x9f\ud800-\udfff]")
"""All but the tab, and halves of characters, which JSON can have and UTF-8 cannot."""
_BLANK_OR_CONTROL = re.compile(rf"\s|{_CONTROL.pattern}")
_NO_BROADCAST = AddressRange.parse("255.255.255.255")
_OBJECT_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
LONGEST_PROFILE_NAME: Final = 63
"""What bgpd keeps of a name, silently; bfdd takes one more (FRR lib/bfd.h BFD_PROFILE_NAME_LEN)."""


def number_from(spec: Document, name: str, least: int, most: int, problems: Problems) -> int | None:
    """Read a whole number within bounds; None where there is none."""
    number: int | None = spec.get(name)
    if number is not None and not least <= number <= most:
        problems.add(f"spec.{name}", f"{number} is out of range; write {least} to {most}")
    return number


def address_from(spec: Document, name: str, problems: Problems) -> Address | None:
    """Read an address that a session can have at one end; None where there is none."""
    text = spec.get(name)
    if not text:
        return None
    here = f"spec.{name}"
    if "%" in text:
        remedy = "write that as interface, and no address" if name == "peerAddress" else "write the address alone"
        problems.add(here, f"{quoted(text)} names an interface behind '%'; {remedy}")
        return None
    address = problems.read(here, lambda: Address.parse(text))
    if address is None:
        return None
    alone = AddressRange(address.family, address.value, address.value, str(address))
    unfit = unusable_part(alone)
    if unfit is not None and unfit[0] == "link-local" and address.family is Family.IPV6 and name == "peerAddress":
        problems.add(here, f"{address} is link-local, which names no interface; write the interface instead of it")
    elif unfit is not None and (unfit[0] != "link-local" or address.family is Family.IPV6):
        problems.add(here, f"{address} is {unfit[0]}; write a unicast address of the router's or node's interface")
    elif alone.overlaps(_NO_BROADCAST):
        problems.add(here, f"{address} is broadcast; write a unicast address")
    return address


def router_id_from(spec: Document, problems: Problems) -> Address | None:
    """Read a router ID; None where there is none."""
    text = spec.get("routerID")
    if not text:
        return None
    address = problems.read("spec.routerID", lambda: Address.parse(text))
    if address is not None and address.family is Family.IPV6:
        problems.add("spec.routerID", f"{address} is IPv6; a router ID is written like an IPv4 address")
    elif address is not None and not address.value:
        problems.add("spec.routerID", f"{address} is no router ID; write another, or remove it")
    return address


def device_from(spec: Document, name: str, problems: Problems) -> str:
    """Read the name of an interface as Linux (net/core/dev.c dev_valid_name) and FRR take it."""
    text: str = spec.get(name) or ""
    here = f"spec.{name}"
    if not text:
        return ""
    if len(text.encode("utf-8", "surrogatepass")) > _LONGEST_INTERFACE_NAME:
        problems.add(here, f"{quoted(text)} is too long; Linux allows {_LONGEST_INTERFACE_NAME} bytes")
    elif _BLANK_OR_CONTROL.search(text) or set(text) & set("/:") or text in (".", ".."):
        problems.add(here, f"{quoted(text)} is no name of an interface; it has no blank, '/' or ':'")
    elif text in _RESERVED_DEVICES:
        problems.add(here, f"{quoted(text)} is no name of an interface; Linux and FRR have another meaning for it")
    elif "'" in text:
        # FRR names a session's route-map after it, and puts the names of route-maps into XPath as they are.
        problems.add(here, f"{quoted(text)} has a quote, which FRR does not take; give the interface another name")
    elif "|" in text:
        # As in a description: what is behind it FRR takes for a filter, also where it is asked for a VRF's sessions.
        problems.add(here, f"{quoted(text)} has a '|', which FRR does not keep; give the interface another name")
    elif _is_address(text):
        problems.add(here, f"{quoted(text)} is an address; write it as peerAddress, or the interface's name")
    return text


def vrf_from(spec: Document, problems: Problems) -> str:
    """Read the name of a VRF; empty for the default one."""
    # FRR's own name for the one without a name.
    return "" if spec.get("vrf") == "default" else device_from(spec, "vrf", problems)


def _is_address(text: str) -> bool:
    return Problems().read("", lambda: Address.parse(text)) is not None


def password_from(spec: Document, problems: Problems, *, path: str = "spec.password") -> str:
    """Read a password, of a BGPPeer or a Secret; what is wrong with it is said without any of it."""
    text: str = spec.get("password") or ""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > _LONGEST_PASSWORD_BYTES:
        problems.add(path, f"has {size} bytes; use {_LONGEST_PASSWORD_BYTES} at most")
    if _BLANK_OR_CONTROL.search(text):
        problems.add(path, "has a blank, a line break or a control character; use none of them")
    return text


def profile_from(spec: Document, problems: Problems) -> str:
    """Read the name of a BFDProfile."""
    name: str = spec.get("bfdProfile") or ""
    if name and (problem := profile_name_problem(name)):
        problems.add("spec.bfdProfile", problem)
    return name


def profile_name_problem(name: str) -> str:
    """Say what keeps a text from being a BFDProfile's name, with the remedy; empty where nothing does."""
    if len(name) > LONGEST_PROFILE_NAME:
        return f"{quoted(name)} has {len(name)} characters; a BFDProfile's name has {LONGEST_PROFILE_NAME} at most"
    if not _OBJECT_NAME.fullmatch(name):
        return f"{quoted(name)} is no name of an object; use lower-case letters, digits, '-' and '.'"
    return ""


def description_from(spec: Document, problems: Problems) -> str:
    """Read a description as FRR keeps it: one blank between words."""
    text: str = spec.get("description") or ""
    if len(text) > _LONGEST_DESCRIPTION:
        problems.add(
            "spec.description", f"{quoted(text)} has {len(text)} characters; use {_LONGEST_DESCRIPTION} at most"
        )
    if "|" in text:
        # FRR's command line takes the rest for a filter of its output, and cuts the command there.
        problems.add("spec.description", f"{quoted(text)} has a '|', which FRR does not keep; use another character")
    if _CONTROL.search(text):
        problems.add("spec.description", f"{quoted(text)} has a line break or a control character; write one line")
    return " ".join(text.split())
