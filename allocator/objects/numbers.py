"""Whole numbers of any length, as documents may have them: Python refuses to read or print thousands of digits.

What no field of Kubernetes can hold is read as a number that is still far outside of every range, so that whoever
checks ranges refuses it as any other that is too large.
"""

from __future__ import annotations

from typing import Final

_DIGITS: Final = 100
FAR_OUT: Final = 10**_DIGITS


def whole_number(text: str) -> int:
    """Read an optional sign and decimal digits; beyond FAR_OUT they are FAR_OUT. Raises ValueError for other text."""
    digits = text.lstrip("+-").lstrip("0")
    if len(digits) > _DIGITS and digits.isascii() and digits.isdigit():
        return -FAR_OUT if text.startswith("-") else FAR_OUT
    return int(text)


def within_reach(value: int) -> int:
    """Return the number, or FAR_OUT with its sign where it is beyond that."""
    return max(-FAR_OUT, min(FAR_OUT, value))
