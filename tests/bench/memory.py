"""How much memory a program and its children have, as Linux accounts it."""

from __future__ import annotations

from pathlib import Path


def process_tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(descendant for child in children for descendant in process_tree(child))]


def resident_megabytes(pid: int) -> float:
    """Return a process's resident set size."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1000


def proportional_megabytes(pid: int) -> float:
    """Return a process's resident set size with each page counted by its share of it."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1000


def _kilobytes(path: Path, field: str) -> float:
    line = next(line for line in path.read_text().splitlines() if line.startswith(field))
    # The kernel says kB and means 1024 bytes.
    return int(line.split()[1]) * 1.024
