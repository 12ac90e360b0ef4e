"""The scheduler of `make test`, over simulated workers: everything runs once, what measures time alone, one lab."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.side_by_side import (
    ALONE,
    LABS,
    LEFT_OVER,
    SHARING,
    UNIT,
    WAITING,
    Kind,
    SideBySide,
    kind_of,
    order,
)

ROOT = Path(__file__).parents[3]


@dataclass(eq=False)
class Worker:
    """As xdist's: it starts a test only when it has the next one too, or has been told to end."""

    name: str
    python: str = ""
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name, spec=SimpleNamespace(python=self.python))

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
    """A run of so many workers, and one with what is left, over a collection; tests end in a random order."""

    def __init__(self, workers: int, collection: list[str], chance: random.Random) -> None:
        config: Any = SimpleNamespace(
            getvalue=lambda _: ["popen"] * (workers + 1), option=SimpleNamespace(loadscopereorder=False)
        )
        self.scheduler = SideBySide(config)
        self.scheduler.numnodes = workers + 1
        self.collection = collection
        self.workers = [Worker(f"gw{number}") for number in range(workers)]
        self.left_over = Worker(f"gw{workers}", " ".join(LEFT_OVER))
        self.workers.append(self.left_over)
        self.chance = chance
        self.ended: list[str] = []
        self.ended_by: dict[Worker, list[str]] = {worker: [] for worker in self.workers}
        self.most_at_once = 0

    def go(self) -> None:
        for worker in self.workers:
            self.scheduler.add_node(worker)
        for worker in self.workers:
            self.scheduler.add_node_collection(worker, self.collection)
        self.scheduler.schedule()
        while running := [worker for worker in self.workers if worker.runs is not None]:
            kinds = Counter(kind_of(self.collection[worker.queue[0]]) for worker in running)
            beside = [worker for worker in running if worker is not self.left_over]
            assert not kinds[Kind.ALONE] or len(beside) == 1, kinds
            if self.left_over in running:
                assert kind_of(self.collection[self.left_over.queue[0]]) is Kind.COMPUTING
            assert kinds[Kind.LAB] <= 1, kinds
            self.most_at_once = max(self.most_at_once, kinds.total())
            worker = self.chance.choice(running)
            index = worker.queue.pop(0)
            self.ended.append(self.collection[index])
            self.ended_by[worker].append(self.collection[index])
            self.scheduler.mark_test_complete(worker, index)
            if self.scheduler.tests_finished:
                for each in self.workers:
                    each.shutdown()
            for each in self.workers:
                if each.shutting_down and not each.queue and each in self.scheduler.nodes:
                    self.scheduler.remove_node(each)


NAMES = {Kind.ALONE: ALONE[0], Kind.LAB: LABS[0], Kind.OTHER: "tests/cluster/", Kind.COMPUTING: "tests/unit/core/"}
"""What the path of a file begins with."""
FILES = st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 6)), min_size=1, max_size=8)


def collected(*files: tuple[Kind, int]) -> list[str]:
    """So many tests in a file of each kind, in the order of a run."""
    named = [(f"{NAMES[kind]}test_{number}.py", tests) for number, (kind, tests) in enumerate(files)]
    return sorted(
        (f"{file}::test_{number}" for file, tests in named for number in range(tests)),
        key=lambda nodeid: order(nodeid, {}),
    )


@settings(deadline=None)
@given(FILES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_everything_runs_once_what_measures_time_alone_and_one_lab_at_a_time(
    files: list[tuple[Kind, int]], workers: int, chance: random.Random
) -> None:
    collection = collected(*files)
    run = Run(workers, collection, chance)

    run.go()

    assert sorted(run.ended) == sorted(collection)


def test_a_lab_has_other_files_beside_it_and_its_worker_helps_afterwards() -> None:
    collection = collected((Kind.ALONE, 2), (Kind.LAB, 3), *[(Kind.OTHER, 3)] * 9)
    run = Run(2, collection, random.Random(1))

    run.go()

    assert run.most_at_once == 2
    kinds = [kind_of(nodeid) for nodeid in run.ended]
    assert kinds[:2] == [Kind.ALONE] * 2
    last_lab = max(number for number, kind in enumerate(kinds) if kind is Kind.LAB)
    assert Kind.OTHER in kinds[2:last_lab]
    helper = run.workers[0]
    assert any(kind_of(nodeid) is Kind.OTHER for nodeid in run.ended_by[helper])


def test_files_that_share_are_run_by_one_worker() -> None:
    (sharing, *_) = SHARING.values()
    others = collected(*[(Kind.OTHER, 3)] * 9)
    collection = [f"{file}::test_{number}" for file in sharing for number in range(3)] + others
    run = Run(3, collection, random.Random(1))

    run.go()

    assert sorted(run.ended) == sorted(collection)
    workers = [
        worker for worker, ended in run.ended_by.items() if any(nodeid.startswith(sharing) for nodeid in ended)
    ]
    assert len(workers) == 1


def test_what_computes_runs_beside_what_is_alone() -> None:
    collection = collected((Kind.ALONE, 6), *[(Kind.COMPUTING, 3)] * 9)
    run = Run(1, collection, random.Random(1))

    run.go()

    assert sorted(run.ended) == sorted(collection)
    kinds = [kind_of(nodeid) for nodeid in run.ended]
    last_alone = max(number for number, kind in enumerate(kinds) if kind is Kind.ALONE)
    assert Kind.COMPUTING in kinds[:last_alone]
    assert run.ended_by[run.left_over]


def test_what_waits_for_a_thread_a_socket_or_a_program_gets_more_than_what_is_left() -> None:
    waits = re.compile(r"wait_until|lists_api|time\.sleep|monotonic\(\)|Thread\(|perf_counter|\btimeout=")
    files = [str(path.relative_to(ROOT)) for path in (ROOT / UNIT).rglob("test_*.py")]

    computing = [file for file in files if kind_of(file) is Kind.COMPUTING]

    assert len(computing) > len(files) / 2
    assert [file for file in computing if waits.search((ROOT / file).read_text())] == []
    assert [path for path in WAITING if not (ROOT / path).exists()] == []
