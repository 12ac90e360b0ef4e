"""The levels that `--log-level` takes, by MetalLB's own names."""

from __future__ import annotations

from typing import Final

LEVELS: Final = {"all": 10, "debug": 10, "info": 20, "warn": 30, "error": 40, "none": 51}
"""As numbers of the module `logging`, which a command that logs nothing need not import."""
