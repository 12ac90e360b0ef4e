"""A pytest plugin: runs test files side by side, each worker in a lab of its own; files that measure time run alone.

Used by `make test` together with pytest-xdist, whose workers it places behind `tests.lab.enter`: ports, interfaces
and processes of one are invisible to the others. The longest files start first, by what `tests.durations` wrote down.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

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


def order(nodeid: str, seconds: Mapping[str, float]) -> tuple[bool, float]:
    """Return what to sort a test by, given the seconds of each file: the longest first, what runs alone last.

    That stays in the order of the command line: what has interfaces of its own comes before the lab, whose hosts stay
    until its worker ends.
    """
    return (True, 0.0) if is_alone(nodeid) else (False, -seconds.get(file_of(nodeid), UNKNOWN_SECONDS))


def is_alone(nodeid: str) -> bool:
    """Return whether the test, or the file, runs while no other does."""
    return nodeid.startswith(ALONE)


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist brings no types for it
    """Hands out test files; once only those are left that run alone, one worker runs them after the others ended.

    A worker runs its last test only when it is given another one or is told to end: those that get no more files
    are told so at once, the one that stays waits for them.
    """

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
        super()._assign_work_unit(node)

    @property
    def _staying(self) -> WorkerController | None:
        return next((one for one in self.nodes if not one.shutting_down), None)
