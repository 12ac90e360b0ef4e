"""What a daemon says it is configured with (`show running-config`), in the form we render.

Only what is ours is read: routers and neighbours, BFD profiles, and the route-maps named as ours. Lines that nobody
here would write are passed over and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from allocator.bgp import communities
from allocator.bgp.frr_config import CLASS_PREFIX, DENY_IN, OUT_PREFIX, Config, Key, Line
from allocator.bgp.inputs import Password
from allocator.bgp.route_class import Prefix, prefix_of
from allocator.core.addresses import Address, AddressError, Family

_NEIGHBOR_SETTINGS = (
    ("interface remote-as", "remote-as"),
    ("graceful-restart-disable", "graceful-restart"),
    *(
        (name, name)
        for name in (
            "remote-as",
            "description",
            "local-as",
            "port",
            "timers connect",
            "timers",
            "password",
            "update-source",
            "ebgp-multihop",
            "ttl-security",
            "disable-connected-check",
            "graceful-restart",
            "bfd profile",
            "bfd",
            "shutdown",
        )
    ),
)
"""How a neighbour's line begins, and its key; the longer ones first."""

_ROUTER_SETTINGS = (
    "bgp router-id",
    "bgp graceful-shutdown",
    "bgp graceful-restart restart-time",
    "bgp graceful-restart preserve-fw-state",
    "no bgp ebgp-requires-policy",
    "no bgp default ipv4-unicast",
    "no bgp network import-check",
    "coalesce-time 1",
)
_ROUTE_MAP_COMMANDS = (
    "match tag",
    "set tag",
    "set community",
    "set large-community",
    "set local-preference",
    "set metric",
    "set as-path prepend",
)
_BFD_SETTINGS = (
    "receive-interval",
    "transmit-interval",
    "detect-multiplier",
    "echo transmit-interval",
    "echo receive-interval",
    "minimum-ttl",
    "echo-mode",
    "passive-mode",
)
_FAMILIES = {"address-family ipv4 unicast": Family.IPV4, "address-family ipv6 unicast": Family.IPV6}


def read(*texts: str) -> Config:
    """Read the answers of one or several daemons to `show running-config`."""
    config = Config()
    for text in texts:
        reader = _Reader(config)
        for line in _lines(text):
            # Of other releases, or written by hand in a form that is not known: one such line is to stop nothing.
            with suppress(IndexError, ValueError):
                reader.take(line)
    return config


class _Reader:
    """Goes through the lines; knows the context each is in."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._vrf: str | None = None
        self._family: Family | None = None
        self._here: Key | None = None

    def take(self, line: str) -> None:
        words = line.split()
        if not line.startswith(" "):
            self._leave(line, words)
        elif self._vrf is not None:
            self._in_router(line.strip(), words)
        elif words[0] == "profile" and len(words) == 2 and self._here is not None and self._here[0] == "bfd":
            self._here = ("bfd", words[1])
            self._config.lines[self._here] = f"profile {words[1]}"
        elif self._here is not None and len(self._here) > 1:
            known = _BFD_SETTINGS if self._here[0] == "bfd" else _ROUTE_MAP_COMMANDS
            setting = _known(line.strip(), known)
            if setting is not None:
                self._config.lines[*self._here, setting] = _canonical(setting, line.strip())

    def _leave(self, line: str, words: list[str]) -> None:
        """Take in a line that begins a context of its own, or is one."""
        self._vrf = self._family = self._here = None
        if words[:2] == ["router", "bgp"] and len(words) in (3, 5):
            self._vrf = words[4] if len(words) == 5 else ""
            self._config.lines["router", self._vrf] = line.strip()
        elif words == ["bfd"]:
            self._here = ("bfd",)
        elif words[0] == "route-map" and len(words) == 4 and _is_ours(words[1]):
            self._here = ("route-map", words[1], words[3])
            self._config.lines[self._here] = words[2]
        elif line.startswith("bgp route-map delay-timer"):
            self._config.lines["global", "route-map delay-timer"] = line.strip()

    def _in_router(self, text: str, words: list[str]) -> None:
        vrf = self._vrf or ""
        if text in _FAMILIES:
            self._family = _FAMILIES[text]
        elif words[0] == "exit-address-family":
            self._family = None
        elif words[0] == "neighbor":
            self._neighbor((("neighbor", vrf, neighbor_id(words[1]))), text.split(maxsplit=2)[2])
        elif words[0] == "network" and self._family is not None and words[2:3] == ["route-map"]:
            self._config.networks[vrf, _prefix(words[1])] = words[3]
        elif (setting := _known(text, _ROUTER_SETTINGS)) is not None:
            self._config.lines["router", vrf, setting] = text

    def _neighbor(self, here: Key, rest: str) -> None:
        if self._family is not None:
            there = (*here, self._family.value)
            words = rest.split()
            if words[0] == "activate":
                self._config.lines[*there, "activate"] = rest
            elif words[0] == "route-map" and words[2:] in (["in"], ["out"]):
                self._config.lines[*there, f"route-map {words[2]}"] = rest
            return
        for start, setting in _NEIGHBOR_SETTINGS:
            if rest != start and not rest.startswith(f"{start} "):
                continue
            self._config.lines[*here, setting] = _value(setting, rest)
            return


def _value(setting: str, text: str) -> Line:
    """Return a neighbour's line as we write it."""
    match setting:
        case "password":
            return Password(text.removeprefix("password "))
        case "update-source":
            return f"{setting} {neighbor_id(text.removeprefix(setting).strip())}"
        case "ebgp-multihop":
            # 8.4 prints the TTL, 10.3 does not.
            return setting
    return text


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip() and line.strip() != "!":
            yield line.rstrip()


def _known(text: str, settings: tuple[str, ...]) -> str | None:
    return next((each for each in settings if text == each or text.startswith(f"{each} ")), None)


def _is_ours(name: str) -> bool:
    return name == DENY_IN or name.startswith((CLASS_PREFIX, OUT_PREFIX))


def _canonical(setting: str, text: str) -> str:
    """Return the line as we write it: FRR names well-known communities."""
    if setting != "set community":
        return text
    try:
        numbers = sorted(communities.read(word) for word in text.split()[2:] if word != "additive")
    except ValueError:
        # A name that another release of FRR has: never one of ours, so that the line is set anew.
        return text
    return " ".join(("set community", *map(communities.text_of, numbers), "additive"))


def neighbor_id(word: str) -> str:
    """Return an address, or an interface's name, as we write it: FRR writes some otherwise (::192.0.2.1)."""
    try:
        return str(Address.parse(word))
    except AddressError:
        return word


def _prefix(word: str) -> Prefix:
    address, _, length = word.partition("/")
    return prefix_of(Address.parse(address), int(length))
