"""A pytest plugin: runs test files side by side, each worker in a lab of its own; files that measure time run alone.

Used by `make test` together with pytest-xdist, whose workers it places behind `tests.lab.enter`: ports, interfaces
and processes of one are invisible to the others. Within each `Part` of a run the longest files start first, by what
`tests.durations` wrote down.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from enum import IntEnum

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.durations import UNKNOWN_SECONDS, file_of, known

ALONE = (
    "tests/chaos/",
    "tests/cluster/test_handover.py",
    "tests/cluster/test_webhook_serving.py",
    "tests/demo/",
    "tests/endtoend/",
    "tests/frr/driver/",
    "tests/frr/supervisor/",
    "tests/soak/",
    "tests/wire/",
)
"""Files, and folders, whose tests judge how long something takes, or that use the lab, of which a worker has one.

Three labs beside one another on two cores cost the API server of each its deadlines.
"""
BEFORE_THE_LAB = ("tests/wire/", "tests/soak/")
"""Those with interfaces of their own, by the names of the lab's, whose hosts stay until its worker ends."""
WAITING: tuple[str, ...] = ("tests/walkthroughs/",)
"""Those that mostly wait for timers and judge none: a worker more than there are cores runs them meanwhile."""
MEASURING = ("tests/observability/",)
"""All others whose tests look at what happens within seconds: beside each other, after what computes."""


class Part(IntEnum):
    """When a file runs: the parts of a run, in their order."""

    COMPUTING = 0
    WAITING = 1
    MEASURING = 2
    ALONE = 3


def part_of(nodeid: str) -> Part:
    """Return the part of the run that a test, or a file, belongs to."""
    for part, paths in ((Part.ALONE, ALONE), (Part.WAITING, WAITING), (Part.MEASURING, MEASURING)):
        if nodeid.startswith(paths):
            return part
    return Part.COMPUTING


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of workers."""
    parser.addoption("--workers", type=int, default=0, help="how many test files may run side by side")


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Have xdist start its workers inside a lab each."""
    workers = config.getoption("workers")
    if workers and not hasattr(config, "workerinput"):
        inside = shlex.join([sys.executable, "-m", "tests.lab.enter", "--", sys.executable])
        config.option.tx = [f"popen//python={inside}"] * workers
        config.option.dist = "loadscope"
        config.option.loadscopereorder = False
        config.option.usepdb = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests into their order; those of a file stay together."""
    seconds = known(config.rootpath)
    items.sort(key=lambda item: order(item.nodeid, seconds))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SideBySide:
    """Return the scheduler that xdist shall use."""
    return SideBySide(config, log)


def order(nodeid: str, seconds: Mapping[str, float]) -> tuple[Part, bool, float]:
    """Return what to sort a test by, given the seconds of each file: by part, and the longest files first.

    What has interfaces of its own comes before the lab.
    """
    return part_of(nodeid), not nodeid.startswith(BEFORE_THE_LAB), -seconds.get(file_of(nodeid), UNKNOWN_SECONDS)


def is_alone(nodeid: str) -> bool:
    """Tell whether the test runs while no other does."""
    return part_of(nodeid) is Part.ALONE


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist brings no types for it
    """Hands out test files; once only those are left that run alone, one worker runs them after the others ended.

    A worker runs its last test only when it is given another one or is told to end: those that get no more files
    are told so at once, the one that stays waits for them. Workers beyond the number of cores begin with what waits.
    """

    cores = os.cpu_count() or 1

    def _split_scope(self, nodeid: str) -> str:
        return file_of(nodeid)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Take note of a test that has ended, which may be what the files that run alone waited for."""
        super().mark_test_complete(node, item_index, duration)
        if self._only_alone_left:
            for other in self.nodes:
                self._reschedule(other)

    @property
    def _only_alone_left(self) -> bool:
        return bool(self.workqueue) and is_alone(next(iter(self.workqueue)))

    def _reschedule(self, node: WorkerController) -> None:
        if self._only_alone_left and node is not self._staying:
            node.shutdown()
        else:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        others_run = any(self._pending_of(self.assigned_work[one]) for one in self.nodes if one is not node)
        if self._only_alone_left and (others_run or node is not self._staying):
            return
        if self._is_beyond_the_cores(node):
            waiting = (file for file in self.workqueue if part_of(file) is Part.WAITING)
            if (file := next(waiting, None)) is not None:
                self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)

    def _is_beyond_the_cores(self, node: WorkerController) -> bool:
        """Whether as many workers as there are cores compute without this one; xdist counts on for a replacement."""
        number, workers = int(node.gateway.id.removeprefix("gw")), int(self.numnodes)
        return number % workers >= self.cores

    @property
    def _staying(self) -> WorkerController | None:
        return next((one for one in self.nodes if not one.shutting_down), None)
