"""Which interfaces people exclude from announcing: MetalLB's file, read as MetalLB reads it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from speaker.netdev.interfaces import EXCLUDED_NAMES

EXCLUDE_FILE = Path("/etc/metallb/excludel2.yaml")
"""Where MetalLB's manifests mount the ConfigMap `metallb-excludel2`."""
_FIELD = "announcedInterfacesToExclude"


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
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InvalidExclusions(f"{path}: {_FIELD}: {pattern!r} is no regular expression: {error}") from None
    return tuple(patterns)
