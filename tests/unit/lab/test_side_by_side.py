"""The scheduler of `make test`, over simulated workers: everything runs once, and what measures time runs alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.side_by_side import ALONE, SideBySide, is_alone, order


@dataclass(eq=False)
class Worker:
    """As xdist's: it starts a test only when it has the next one too, or has been told to end."""

    name: str
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def runs(self) -> int | None:
        ready = len(self.queue) > 1 or (self.queue and self.shutting_down)
        return self.queue[0] if ready else None


class Run:
    """A run of so many workers over a collection, whose tests end in an order drawn by chance."""

    def __init__(self, workers: int, collection: list[str], chance: random.Random) -> None:
        config: Any = SimpleNamespace(
            getvalue=lambda _: ["popen"] * workers, option=SimpleNamespace(loadscopereorder=False)
        )
        self.scheduler = SideBySide(config)
        self.scheduler.numnodes = workers
        self.collection = collection
        self.workers = [Worker(f"gw{number}") for number in range(workers)]
        self.chance = chance
        self.ended: list[str] = []

    def go(self) -> None:
        for worker in self.workers:
            self.scheduler.add_node(worker)
        for worker in self.workers:
            self.scheduler.add_node_collection(worker, self.collection)
        self.scheduler.schedule()
        while running := [worker for worker in self.workers if worker.runs is not None]:
            tests = [self.collection[worker.queue[0]] for worker in running]
            assert len(tests) == 1 or not any(map(is_alone, tests)), tests
            worker = self.chance.choice(running)
            index = worker.queue.pop(0)
            self.ended.append(self.collection[index])
            self.scheduler.mark_test_complete(worker, index)
            if self.scheduler.tests_finished:
                for each in self.workers:
                    each.shutdown()
            for each in self.workers:
                if each.shutting_down and not each.queue and each in self.scheduler.nodes:
                    self.scheduler.remove_node(each)


FOLDERS = {False: "tests/unit/", True: ALONE[0]}
"""By whether what is in it runs alone."""
FILES = st.lists(st.tuples(st.booleans(), st.integers(1, 6)), min_size=1, max_size=8)


def collected(*files: tuple[bool, int]) -> list[str]:
    """So many tests in a file of each kind, in the order of a run."""
    named = [(f"{FOLDERS[alone]}test_{number}.py", tests) for number, (alone, tests) in enumerate(files)]
    return sorted(
        (f"{file}::test_{number}" for file, tests in named for number in range(tests)),
        key=lambda nodeid: order(nodeid, {}),
    )


@settings(deadline=None)
@given(FILES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_everything_runs_once_and_what_measures_time_alone(
    files: list[tuple[bool, int]], workers: int, chance: random.Random
) -> None:
    collection = collected(*files)
    run = Run(workers, collection, chance)

    run.go()

    assert sorted(run.ended) == sorted(collection)
