"""The fields of a Secret's data: bytes as base64, and what is none counts as empty."""

from __future__ import annotations

import base64
import binascii


def encoded(value: bytes) -> str:
    """Return what a field holds for these bytes."""
    return base64.b64encode(value).decode("ascii")


def decoded(value: str) -> bytes:
    """Return the content of a field; nothing where it is no base64."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""
