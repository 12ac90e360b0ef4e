"""How much of what a Service says a claim can hold: an object that etcd must take (1.5 MiB), whoever shares it.

The schema of IPAllocation has the same numbers, tests/unit/objects/test_limits.py compares them. Admission refuses
what exceeds them, so that no claim ever fails to be written.
"""

from __future__ import annotations

from typing import Final

NAME_CHARACTERS: Final = 63
"""A Service's name, its generateName and its namespace: DNS labels."""
UID_CHARACTERS: Final = 128
POOL_CHARACTERS: Final = 253
SHARING_KEY_CHARACTERS: Final = 253
SHARING_NAMESPACES: Final = 100
"""That one Service allows to join it."""
BACKEND_KEY_CHARACTERS: Final = 1024
PORTS: Final = 4096
"""Of one Service."""
HOLDERS: Final = 512
"""That share one address."""
PORTS_ON_ADDRESS: Final = 16384
"""Of all that share one address."""
