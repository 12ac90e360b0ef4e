"""The scheduler of `make test`, over simulated workers: everything runs once, and what measures time runs alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.side_by_side import ALONE, MEASURING, WAITING, Part, SideBySide, is_alone, order, part_of


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

    def __init__(self, workers: int, cores: int, collection: list[str], chance: random.Random) -> None:
        config: Any = SimpleNamespace(
            getvalue=lambda _: ["popen"] * workers, option=SimpleNamespace(loadscopereorder=False)
        )
        self.scheduler = SideBySide(config)
        self.scheduler.numnodes = workers
        self.scheduler.cores = cores
        self.collection = collection
        self.workers = [Worker(f"gw{number}") for number in range(workers)]
        self.chance = chance
        self.ended: list[str] = []
        self.first: dict[str, str] = {}
        """The first test of each worker."""

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
            self.first.setdefault(worker.name, self.collection[index])
            self.scheduler.mark_test_complete(worker, index)
            if self.scheduler.tests_finished:
                for each in self.workers:
                    each.shutdown()
            for each in self.workers:
                if each.shutting_down and not each.queue and each in self.scheduler.nodes:
                    self.scheduler.remove_node(each)


FOLDERS = {
    Part.COMPUTING: "tests/unit/",
    Part.WAITING: WAITING[0],
    Part.MEASURING: MEASURING[0],
    Part.ALONE: ALONE[0],
}
FILES = st.lists(st.tuples(st.sampled_from(Part), st.integers(1, 6)), min_size=1, max_size=8)


def collected(*files: tuple[Part, int]) -> list[str]:
    """So many tests in a file of each part, in the order of a run."""
    named = [(f"{FOLDERS[part]}test_{number}.py", tests) for number, (part, tests) in enumerate(files)]
    return sorted(
        (f"{file}::test_{number}" for file, tests in named for number in range(tests)),
        key=lambda nodeid: order(nodeid, {}),
    )


@settings(deadline=None)
@given(FILES, st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_everything_runs_once_and_what_measures_time_alone(
    files: list[tuple[Part, int]], workers: int, cores: int, chance: random.Random
) -> None:
    collection = collected(*files)
    run = Run(workers, cores, collection, chance)

    run.go()

    assert sorted(run.ended) == sorted(collection)


@given(st.randoms(use_true_random=False))
def test_a_worker_more_than_there_are_cores_runs_what_waits_meanwhile(chance: random.Random) -> None:
    parts = [Part.COMPUTING] * 8 + [Part.WAITING] * 2 + [Part.MEASURING] * 4
    run = Run(3, 2, collected(*((part, 3) for part in parts)), chance)

    run.go()

    assert [part_of(run.first[f"gw{number}"]) for number in range(3)] == [
        Part.COMPUTING,
        Part.COMPUTING,
        Part.WAITING,
    ]
    begun = list(dict.fromkeys(part_of(nodeid) for nodeid in run.ended))
    assert begun.index(Part.COMPUTING) < begun.index(Part.MEASURING)
