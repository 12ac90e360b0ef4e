"""The garbage collector of a process that must not stop: what stays is not looked at again and again."""

from __future__ import annotations

import gc


def settle_garbage() -> None:
    """Leave everything there is now out of all collections to come; once the whole cluster is known."""
    gc.collect()
    gc.freeze()
