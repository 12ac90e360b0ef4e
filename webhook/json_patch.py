"""RFC 6902 operations that set or remove annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def annotation_patch(
    current: Mapping[str, str] | None, wanted: Mapping[str, str | None]
) -> tuple[dict[str, Any], ...]:
    """Return the operations after which every key of `wanted` has its value, or is absent where that is None.

    `current` is metadata.annotations as sent: None when the object has no such map, which then is created.
    """
    operations: list[dict[str, Any]] = []
    present = current or {}
    values = {key: value for key, value in wanted.items() if value is not None and present.get(key) != value}
    if values and current is None:
        return ({"op": "add", "path": "/metadata/annotations", "value": values},)
    operations += [{"op": "add", "path": _path(key), "value": value} for key, value in values.items()]
    operations += [
        {"op": "remove", "path": _path(key)} for key, value in wanted.items() if value is None and key in present
    ]
    return tuple(operations)


def _path(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
