"""How much processor time a program and its children have used, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

from tests.bench.memory import process_tree


def processor_seconds(pid: int) -> float:
    """Return what all threads of a process and of its descendants have used; a thread that ended counts no more."""
    return sum(_of_threads(process) for process in process_tree(pid)) / 1e9


def _of_threads(pid: int) -> int:
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            used += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return used
