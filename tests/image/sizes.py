"""What an image is made of, in bytes: the table of docs/releasing.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_PACKAGES = "site-packages"
_OURS = frozenset(("allocator", "webhook", "speaker"))
_NAMED = frozenset(("kubernetes", "scapy", "cryptography", "aiohttp", "pydantic", "pygments"))


def part_of(path: Path) -> str:
    """Say what a file belongs to, by its path below the image's root."""
    if _PACKAGES in path.parts:
        package = path.parts[path.parts.index(_PACKAGES) + 1].removesuffix("_core")
        if package in _OURS:
            return "AdmitLB"
        return package if package in _NAMED else "other packages"
    if any(part.startswith("python3") for part in path.parts):
        return "Python and its standard library"
    return "shared libraries" if ".so" in path.name else "everything else"


def sizes(root: Path) -> dict[str, int]:
    """Return the bytes of each part of an unpacked image, the largest first."""
    found: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            found[part_of(path.relative_to(root))] += path.lstat().st_size
    return dict(found.most_common())


def table(parts: dict[str, int]) -> str:
    """Return the parts as a table of Markdown, in megabytes."""
    rows = [("part", "MB"), ("---", "---:"), *((name, f"{size / 1e6:.1f}") for name, size in parts.items())]
    return "\n".join(f"| {name} | {size} |" for name, size in (*rows, ("all", f"{sum(parts.values()) / 1e6:.1f}")))
