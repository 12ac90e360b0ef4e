"""What somebody may have meant by an entry that is no address and no range: the form that would be right.

Nothing is guessed that is not written: a proposal is made of the numbers of the entry. Whatever is proposed has been
read by the caller's own parser before, so that following it never leads to a second refusal of the entry.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

Reads = Callable[[str], bool]
"""Whether an entry can be read."""

_LONGEST = 400
"""What is longer was not typed by somebody who meant an address."""

_DASHES = re.compile(r"\s*(?:[-\u2010-\u2015\u2212\u00ad~]|\.\.+|\u2026|&ndash;|\bto\b|\bbis\b|->)+\s*")
_SLASH = re.compile(r"\s*/\s*")
_SEPARATORS = re.compile(r"[,;|\s]+")
_NETMASK = re.compile(r"(?P<base>[0-9.]+)/(?P<mask>[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)")
_IPV4 = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.]*[0-9])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*[0-9A-Fa-f:]")
_PORT_OR_ZONE = re.compile(r"^(?::[0-9]{1,5}|%[0-9A-Za-z]+)")
_LENGTH = re.compile(r"/[0-9]{1,3}(?![0-9.])")


def entries_meant(written: str, reads: Reads) -> tuple[str, ...]:
    """Return the entries of a pool that `written` may have been meant as; empty where nobody can say."""
    if len(written) > _LONGEST:
        return ()
    whole = next((form for form in _forms(written) if reads(form)), None)
    if whole is not None:
        return (whole,)
    parts = [part for part in _SEPARATORS.split(_dashed(written)) if part]
    if len(parts) > 1:
        meant = [next((form for form in (part, *_forms(part)) if reads(form)), None) for part in parts]
        if None not in meant:
            return tuple(dict.fromkeys(form for form in meant if form is not None))
    return next(((form,) for form in _amid_text(written) if reads(form)), ())


def addresses_meant(written: str, reads: Reads) -> tuple[str, ...]:
    """Return the addresses, at most one of each family, that an entry of an address list may have been meant as."""
    if len(written) > _LONGEST:
        return ()
    by_family: dict[bool, str] = {}
    for form in (_without_zeros(written), *(match[0] for match in _matches(written))):
        if reads(form):
            by_family.setdefault(":" in form, form)
    return tuple(by_family.values())


def _dashed(written: str) -> str:
    """Every way to write a dash as the one that is read, and a slash without white space around it."""
    return _SLASH.sub("/", _DASHES.sub("-", written.strip()))


def _forms(written: str) -> Iterator[str]:
    """The ways to read the entry as one address, CIDR or range, the likeliest first."""
    text = _dashed(written).strip("-'\"[]() .,;")
    yield from _as_one(text)
    first, dash, last = text.partition("-")
    if dash:
        yield from _as_range(first, last)
    octets = text.split(".")
    if len(octets) == 8:
        yield f"{'.'.join(octets[:4])}-{'.'.join(octets[4:])}"
    if len(octets) == 5:
        yield f"{'.'.join(octets[:4])}-{'.'.join((*octets[:3], octets[4]))}"


def _as_one(text: str) -> Iterator[str]:
    """An address or a CIDR with something of its form amiss."""
    yield text
    yield _without_zeros(text)
    masked = _NETMASK.fullmatch(text)
    if masked:
        try:
            yield str(ipaddress.IPv4Network(text, strict=False))
        except ValueError:
            return
    base, slash, length = text.partition("/")
    mapped = re.fullmatch(r"::ffff:([0-9.]+)", base, re.IGNORECASE)
    if mapped and slash and length.isascii() and length.isdigit() and 96 <= int(length[:4]) <= 128:
        yield f"{mapped[1]}/{int(length) - 96}"
    octets = base.rstrip(".").split(".")
    wild = [octet for octet in octets if octet not in ("*", "x", "X")]
    if slash and len(octets) < 4:
        yield f"{'.'.join([*octets, *['0'] * (4 - len(octets))])}/{length}"
    if not slash and octets and wild and len(wild) < len(octets) == 4 and octets[: len(wild)] == wild:
        yield f"{'.'.join([*wild, *['0'] * (4 - len(wild))])}/{8 * len(wild)}"


def _as_range(first: str, last: str) -> Iterator[str]:
    """`a/24-b/24`, leading zeros, an end of which only the last part is written, ends the wrong way round."""
    yield from _from_network_to_network(first, last)
    low, high = (_without_zeros(end.partition("/")[0].strip("[] ")) for end in (first, last))
    yield from _both_ways(low, high)
    if ":" in low and ":" not in high:
        yield from _both_ways(low, f"{low.rpartition(':')[0]}:{high}")
    octets, given = low.split("."), high.strip(".").split(".")
    if len(octets) == 4 and len(given) < 4:
        yield from _both_ways(low, ".".join((*octets[: 4 - len(given)], *given)))
    if len(given) == 4 and len(octets) < 4:
        yield from _both_ways(".".join((*given[: 4 - len(octets)], *octets)), high)


def _from_network_to_network(first: str, last: str) -> Iterator[str]:
    """Two whole networks: from the first address of one to the last of the other, with the hosts of both."""
    try:
        networks = [ipaddress.ip_network(_without_zeros(end)) for end in (first, last)]
    except ValueError:
        return
    if all(network.num_addresses > 1 for network in networks) and networks[0].version == networks[1].version:
        lows, highs = zip(*((network[0], network[-1]) for network in networks), strict=True)
        yield f"{min(lows)}-{max(highs)}"


def _both_ways(low: str, high: str) -> Iterator[str]:
    yield f"{low}-{high}"
    yield f"{high}-{low}"


def _amid_text(written: str) -> Iterator[str]:
    """What is between the first and the last address, if all around it is without numbers but a port or zone."""
    found = _matches(written)
    if not found:
        return
    start, end = found[0].start(), found[-1].end()
    length = _LENGTH.match(written, end)
    end = length.end() if length else end
    around = written[:start] + _PORT_OR_ZONE.sub("", written[end:], count=1)
    if not re.search("[0-9]", around):
        yield from _forms(written[start:end])


def _matches(written: str) -> list[re.Match[str]]:
    """What looks like an address, in the order written."""
    return sorted((*_IPV4.finditer(written), *_IPV6.finditer(written)), key=lambda match: match.start())


def _without_zeros(text: str) -> str:
    """Dotted numbers, and a prefix length, without the zeros before them."""
    return re.sub(r"(?<![0-9A-Fa-f:])0+(?=[0-9])", "", text) if ":" not in text else text
