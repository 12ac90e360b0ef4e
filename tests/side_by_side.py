"""A pytest plugin: runs test files side by side, each worker in a lab of its own, and in turn what cannot be.

Used by `make test` together with pytest-xdist, whose workers it places behind `tests.lab.enter`: ports, interfaces
and processes of one are invisible to the others. First one worker runs what must be alone. Then it runs what needs a
whole cluster of nodes, file by file, while the others run all else, the longest files first by what `tests.durations`
wrote down; at last it helps them. All that the others start yields to it: nodes and what watches them are on time.

One more worker computes from the beginning on with what all the others leave of the processors, a third of them where
tests wait: it runs unit tests that wait for nothing, and so cannot be too late.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from enum import IntEnum

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.durations import UNKNOWN_SECONDS, file_of, known

ALONE = (
    "tests/cluster/test_handover.py",
    "tests/cluster/test_webhook_serving.py",
    "tests/endtoend/test_burning_cores.py",
    "tests/endtoend/test_dead_lan.py",
    "tests/endtoend/test_failover.py",
    "tests/wire/test_arp_answers.py",
    "tests/wire/test_conflicts.py",
    "tests/wire/test_graceful_restart.py",
    "tests/wire/test_gratuitous_arp.py",
    "tests/wire/test_interfaces.py",
    "tests/wire/test_learning_ports.py",
    "tests/wire/test_membership.py",
    "tests/wire/test_ndp_answers.py",
    "tests/wire/test_vacancy.py",
)
"""Files, and folders, whose tests judge fractions of seconds, or load every core."""

LABS = ("tests/endtoend/", "tests/demo/", "tests/chaos/", "tests/soak/")
"""What starts nodes, or more than one of each component under load: two of these at a time on two cores cost API
servers their deadlines."""

UNIT = "tests/unit/"
WAITING = (
    "tests/unit/allocator/",
    "tests/unit/commands/test_imports.py",
    "tests/unit/commands/test_standard_output.py",
    "tests/unit/commands/test_unknown_names.py",
    "tests/unit/doctor/test_command.py",
    "tests/unit/lab/",
    "tests/unit/manifests/test_frr.py",
    "tests/unit/manifests/test_routes.py",
    "tests/unit/process/",
    "tests/unit/speaker/bgp/",
    "tests/unit/speaker/frr/",
    "tests/unit/speaker/test_backlog.py",
    "tests/unit/speaker/test_controller.py",
    "tests/unit/speaker/test_datagrams.py",
    "tests/unit/speaker/test_event_queue.py",
    "tests/unit/speaker/test_foreign_host_reports.py",
    "tests/unit/speaker/test_key.py",
    "tests/unit/speaker/test_needless_turns.py",
    "tests/unit/speaker/test_realtime.py",
    "tests/unit/speaker/test_status_writer.py",
    "tests/unit/speaker/test_unrelated_interfaces.py",
    "tests/unit/speaker/who_has/test_waiting.py",
    "tests/unit/status_page/",
    "tests/unit/webhook/",
)
"""Unit tests that wait for threads, sockets or programs, and give up after some seconds."""

SHARING = {
    "lasting_installation": (
        "tests/cluster/test_assignment.py",
        "tests/cluster/test_bgp_kinds.py",
        "tests/cluster/test_doctor.py",
        "tests/cluster/test_examples.py",
        "tests/cluster/test_explain.py",
        "tests/cluster/test_pitfalls.py",
        "tests/cluster/test_plan_against_cluster.py",
        "tests/cluster/test_plan_agrees.py",
        "tests/cluster/test_pool_changes.py",
        "tests/cluster/test_pool_renames.py",
        "tests/cluster/test_races.py",
    ),
    "lasting_kinds": (
        "tests/cluster/test_claim_path.py",
        "tests/cluster/test_collection.py",
        "tests/cluster/test_conditions.py",
        "tests/cluster/test_foreign_hosts.py",
        "tests/cluster/test_late_mirrors.py",
        "tests/cluster/test_manifests_schema.py",
        "tests/cluster/test_missing_lists.py",
        "tests/cluster/test_missing_watches.py",
        "tests/cluster/test_other_writers.py",
        "tests/cluster/test_restored_elsewhere.py",
        "tests/cluster/test_securing.py",
        "tests/cluster/test_status_page.py",
        "tests/cluster/test_survival.py",
        "tests/cluster/test_taking_over.py",
        "tests/cluster/test_unled_changes.py",
    ),
    "lasting_control_plane": (
        "tests/cluster/test_cluster_connection.py",
        "tests/cluster/test_control_plane.py",
        "tests/cluster/test_events.py",
        "tests/cluster/test_label_selectors.py",
        "tests/cluster/test_leadership.py",
        "tests/cluster/test_reflector.py",
        "tests/cluster/test_reset_turn.py",
    ),
}
"""Files by the fixture of tests/cluster that they share: one worker runs them one after the other."""
_FIRST_OF = {file: files[0] for files in SHARING.values() for file in files}

NICENESS = 5
"""Of the workers beside the first and of all that they start: a third of a program's share of a processor."""

LEFT_OVER = ("env", "PYTEST_TIMEOUT=1200", sys.executable, "-m", "tests.lab.left_over", "--")
"""What the worker is put behind that has only what all others leave: a test may take ten times as long."""


class Kind(IntEnum):
    """What may run beside a file, in the order of a run."""

    ALONE = 0
    LAB = 1
    OTHER = 2
    COMPUTING = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of workers."""
    parser.addoption("--workers", type=int, default=0, help="how many test files may run side by side")


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Have xdist start its workers inside a lab each."""
    workers = config.getoption("workers")
    if workers and not hasattr(config, "workerinput"):
        inside = shlex.join([sys.executable, "-m", "tests.lab.enter", "--", sys.executable])
        beside = shlex.join(["nice", f"--adjustment={NICENESS}"])
        config.option.tx = [f"popen//python={inside}", *[f"popen//python={beside} {inside}"] * (workers - 1)]
        if workers > 1:
            config.option.tx.append(f"popen//python={shlex.join([*LEFT_OVER, sys.executable])}")
        config.option.dist = "loadscope"
        config.option.loadscopereorder = False
        config.option.usepdb = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests into their order; those of a file stay together."""
    seconds: dict[str, float] = {}
    alone = known(config.rootpath)
    for file in dict.fromkeys(file_of(item.nodeid) for item in items):
        seconds[unit_of(file)] = seconds.get(unit_of(file), 0.0) + alone.get(file, UNKNOWN_SECONDS)
    items.sort(key=lambda item: order(item.nodeid, seconds))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SideBySide:
    """Return the scheduler that xdist shall use."""
    return SideBySide(config, log)


def kind_of(nodeid: str) -> Kind:
    """Return what the test, or the file, is."""
    if nodeid.startswith(ALONE):
        return Kind.ALONE
    if nodeid.startswith(LABS):
        return Kind.LAB
    return Kind.COMPUTING if nodeid.startswith(UNIT) and not nodeid.startswith(WAITING) else Kind.OTHER


def unit_of(nodeid: str) -> str:
    """Return what one worker runs as a whole: the test's file, or the first of those that share with it."""
    file = file_of(nodeid)
    return _FIRST_OF.get(file, file)


def order(nodeid: str, seconds: Mapping[str, float]) -> tuple[Kind, float]:
    """Return what to sort a test by, given the seconds of each unit: of what has no order, the longest first.

    What is alone stays in the order of the command line. Its last files start the lab that LABS begin with.
    """
    kind = kind_of(nodeid)
    if kind is Kind.ALONE:
        return kind, 0.0
    if kind is Kind.LAB:
        return kind, [nodeid.startswith(folder) for folder in LABS].index(True)
    return kind, -seconds.get(unit_of(nodeid), UNKNOWN_SECONDS)


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist brings no types for it
    """Hands out test files: to one worker those that run alone, then the labs; to all of them the others.

    To the one that has what is left of the processors only what computes; all others help with that at last.

    A worker runs its last test only when it is given another one or is told to end. So the one that runs what is
    alone has the next file already when the others begin, and who gets no more files is told so at once.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Take note of a test that has ended, which may be the last that ran alone."""
        super().mark_test_complete(node, item_index, duration)
        if kind_of(self.collection[item_index]) is Kind.ALONE:
            for other in self.nodes:
                if other is not node:
                    self._reschedule(other)

    def _reschedule(self, node: WorkerController) -> None:
        if self.workqueue and self._next_for(node) is None and (_has_left_over(node) or not self._alone_left):
            node.shutdown()
        else:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        scope = self._next_for(node)
        if scope is not None:
            # What the base class hands out is the first.
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    def _next_for(self, node: WorkerController) -> str | None:
        """Return the next file that the worker may be given now."""
        if node is self._first:
            return min(self.workqueue, key=kind_of, default=None)
        if not _has_left_over(node) and self._alone_left:
            return None
        kinds = (Kind.COMPUTING,) if _has_left_over(node) else (Kind.OTHER, Kind.COMPUTING)
        return min((scope for scope in self.workqueue if kind_of(scope) in kinds), key=kind_of, default=None)

    @property
    def _alone_left(self) -> bool:
        """Whether anything is left, or runs, that has to be alone."""
        running = (
            kind_of(scope) is Kind.ALONE and not all(tests.values())
            for units in self.assigned_work.values()
            for scope, tests in units.items()
        )
        return any(kind_of(scope) is Kind.ALONE for scope in self.workqueue) or any(running)

    @property
    def _first(self) -> WorkerController | None:
        running = (one for one in self.nodes if not one.shutting_down and not _has_left_over(one))
        return min(running, key=lambda one: one.gateway.id, default=None)


def _has_left_over(node: WorkerController) -> bool:
    return LEFT_OVER[1] in str(node.gateway.spec.python)
