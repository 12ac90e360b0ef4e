"""Which interfaces people exclude from announcing: MetalLB's file, read as MetalLB reads it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from speaker.netdev.interfaces import EXCLUDED_NAMES

EXCLUDE_FILE = Path("/etc/metallb/excludel2.yaml")
"""Where MetalLB's manifests mount the ConfigMap `metallb-excludel2`."""
_FIELD = "announcedInterfacesToExclude"

_TOKEN = re.compile(r"\\Q(?P<literal>.*?)(?:\\E|$)|(?P<end>\\z)|\\.|(?P<set>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\])")
_CLASS = re.compile(r"\[:(\^?\w+):\]")
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
"""What Go's regular expressions have in square brackets and Python's take for single characters (RE2 syntax)."""


class InvalidExclusions(ValueError):
    """A file that does not say which interfaces to exclude; the message says why and what would be right."""


def excluded_interfaces(path: Path = EXCLUDE_FILE) -> tuple[str, ...]:
    """Return regular expressions for names of interfaces; MetalLB's own list where there is no such file.

    The file replaces that list; one that lists nothing excludes nothing. Raises InvalidExclusions, OSError.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return EXCLUDED_NAMES
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InvalidExclusions(f"{path}: not YAML: {error}") from None
    patterns = document.get(_FIELD) or [] if isinstance(document, dict) else None
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InvalidExclusions(f"{path}: {_FIELD} must be a list of regular expressions")
    found = []
    for pattern in patterns:
        try:
            found.append(_from_go(pattern))
            re.compile(found[-1])
        except re.error as error:
            raise InvalidExclusions(f"{path}: {_FIELD}: {pattern!r} is no regular expression: {error}") from None
    return tuple(found)


def _from_go(pattern: str) -> str:
    """Write a regular expression of MetalLB's, which are Go's, as Python has them. Raises re.error."""

    def translated(token: re.Match[str]) -> str:
        if token["literal"] is not None:
            return re.escape(token["literal"])
        if token["end"]:
            return r"\Z"
        return _CLASS.sub(_characters, token["set"]) if token["set"] else token[0]

    return _TOKEN.sub(translated, pattern)


def _characters(name: re.Match[str]) -> str:
    if name[1] not in _CLASSES:
        raise re.error(f"{name[0]} is not known here; write the characters")
    return _CLASSES[name[1]]
