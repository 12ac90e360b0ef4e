"""How many random examples the unit tests try; `make test-fast` takes fewer than `make test`."""

from __future__ import annotations

import os

PERCENT = int(os.environ.get("ADMITLB_EXAMPLES_PERCENT", "100"))


def examples(usual: int) -> int:
    """Return how many to try of what `usual` are tried otherwise; never none."""
    return max(1, usual * PERCENT // 100)
