"""`admitlb reconciler`: one leader among the replicas repairs, the others watch and wait."""

from __future__ import annotations

import secrets
import signal
import socket
import sys
import threading
from datetime import timedelta
from uuid import uuid4

import click
from prometheus_client import REGISTRY

from allocator import options
from allocator.allocation.adoption_mark import AdoptionMark, mark_of
from allocator.core.pools import PriorityOrder
from allocator.kube import resource
from allocator.kube.client import AlreadyExists, ApiError, Cluster, NotFound
from allocator.kube.lease import Leadership, NotLeading
from allocator.objects import names
from allocator.process import logs
from allocator.process.log_metrics import DroppedLines
from allocator.process.log_thread import LogThread
from allocator.process.monitor import Monitor
from allocator.reconciler.collection import TENTATIVE_AGE
from allocator.reconciler.controller import Controller, ListsMissing, Settings
from allocator.status_page.moves import Moves
from allocator.status_page.server import StatusPage

log = logs.EventLog("reconciler")

_SUPERVISION_SECONDS = 0.5
_LISTING_SECONDS = 0.05
_BEHIND_SECONDS = 30.0
"""How long a leader may lack a watch before it lets another replica try."""
_MARK_SECONDS = 1.0
_START_RETRY_SECONDS = 1.0


@click.command()
@options.namespace
@options.lb_class
@options.take_over_foreign
@options.pool_priority
@click.option(
    "--tentative-age-seconds",
    envvar="ADMITLB_TENTATIVE_AGE_SECONDS",
    type=options.Seconds(min=1),
    default=TENTATIVE_AGE.total_seconds(),
    show_default=True,
    help="How long an address reserved at admission waits for its Service.",
)
@click.option(
    "--status-page-port",
    envvar="ADMITLB_STATUS_PAGE_PORT",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="HTTP port of the read-only status page; 0 serves none.",
)
@options.monitor_port(9121)
@options.log_level
@options.kubeconfig
def reconciler(
    namespace: str,
    lb_class: str,
    take_over_foreign: bool,
    pool_priority: str,
    tentative_age_seconds: float,
    status_page_port: int,
    monitor_port: int,
    log_level: str,
    kubeconfig: str | None,
) -> None:
    """Bind, release and repair addresses, and write Service status."""
    logs.configure(log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    cluster = Cluster.from_environment(kubeconfig)
    settings = Settings(
        namespace=namespace,
        lb_class=lb_class,
        take_over_foreign=take_over_foreign,
        order=PriorityOrder(pool_priority),
        tentative_age=timedelta(seconds=tentative_age_seconds),
    )
    log_thread = logs.write_in_background()
    sys.exit(
        _run(cluster, settings, stopping, log_thread, monitor_port=monitor_port, status_page_port=status_page_port)
    )


def _run(
    cluster: Cluster,
    settings: Settings,
    stopping: threading.Event,
    log_thread: LogThread,
    *,
    monitor_port: int,
    status_page_port: int,
) -> int:
    identity = f"{socket.gethostname()}_{uuid4().hex[:8]}"
    leadership = Leadership(
        cluster,
        namespace=settings.namespace,
        lease=names.RECONCILER_LEASE,
        identity=identity,
        on_started=lambda: _lead(cluster, settings, controller, failed),
    )
    failed = threading.Event()
    moves = Moves()
    controller = Controller(cluster, settings, require_leadership=leadership.require, on_change=moves.note)
    REGISTRY.register(controller.state())
    REGISTRY.register(DroppedLines(log_thread))
    monitor = Monitor(monitor_port, ready=controller.problems)
    monitor.start()
    page = StatusPage(status_page_port, lambda: controller.picture(moves.latest())) if status_page_port else None
    if page is not None:
        page.start()
    if not _start(controller, stopping):
        return 0
    if page is not None:
        moves.begin()
    failure, rewound, contending = "", "", False
    while not stopping.wait(_SUPERVISION_SECONDS if contending else _LISTING_SECONDS):
        if not contending and not controller.unlisted():
            # Not earlier: a leader that lacks a list can do nothing, and keeps from leading whoever has them all.
            leadership.start()
            contending = True
        dead = controller.dead_threads() + ([] if monitor.alive else ["monitor"])
        dead += [] if page is None or page.alive else ["status-page"]
        dead += [] if log_thread.alive else ["log"]
        behind_seconds = controller.try_watches() if contending else 0.0
        rewound = controller.rewound or leadership.rewound
        failure = rewound or _failure(dead, leadership if contending else None, failed)
        if not failure and leadership.holds and behind_seconds > _BEHIND_SECONDS:
            # Alone it repairs nothing; another replica, or this one after a restart, may see more.
            failure = f"has not been able to watch for {_BEHIND_SECONDS:g} s"
        if failure:
            # Start afresh: the restarted process reads everything anew and contends for the Lease again.
            log.error("reconciler.failed", why=failure)
            break
    controller.stop_working()
    # At once: what is left to stop takes seconds, in which another replica can lead already.
    leadership.resign()
    if rewound:
        AdoptionMark(cluster, namespace=settings.namespace).try_to_revoke(why=rewound)
    controller.stop()
    monitor.stop()
    if page is not None:
        page.stop()
    return 1 if failure else 0


def _failure(dead: list[str], leadership: Leadership | None, failed: threading.Event) -> str:
    """Say why the process must start afresh; empty when it need not. `leadership` is None before that."""
    if dead:
        return f"threads ended: {', '.join(dead)}"
    if leadership is not None and leadership.ended:
        return "leadership ended"
    return "could not take up the lead" if failed.is_set() else ""


def _start(controller: Controller, stopping: threading.Event) -> bool:
    reported = False
    while not stopping.is_set():
        try:
            controller.start()
        except ApiError as error:
            if not reported:
                log.warning("reconciler.waiting", error=error)
            reported = True
            stopping.wait(_START_RETRY_SECONDS)
        else:
            return True
    return False


def _lead(cluster: Cluster, settings: Settings, controller: Controller, failed: threading.Event) -> None:
    """Take up the lead, or set `failed`: a leader that does nothing would keep everybody else from leading."""
    try:
        _ensure_speaker_key(cluster, settings.namespace)
        mark = AdoptionMark(cluster, namespace=settings.namespace)
        controller.lead(on_unclaimed=lambda count: mark.revoke(why=f"{count} Services show unclaimed addresses"))
        controller.wait_current()
        # Only now may admission hand out addresses: any of them might have been shown by a Service all along.
        mark.write()
        _keep_marked(mark, controller)
    except (ApiError, ListsMissing, NotLeading) as error:
        log.warning("reconciler.not-leading", error=error)
        failed.set()
    except Exception:
        log.exception("reconciler.not-leading")
        failed.set()


def _keep_marked(mark: AdoptionMark, controller: Controller) -> None:
    """Adopt again whenever the mark is gone; returns when the controller stops. Raises NotLeading."""
    while not controller.stopping.wait(_MARK_SECONDS):
        controller.wait_current()
        try:
            if mark_of(mark.lease()):
                continue
        except NotFound:
            log.warning("adoption.unmarked", lease=names.RECONCILER_LEASE)
        except ApiError as error:
            log.debug("adoption.unknown", error=error)
            continue
        try:
            controller.adopt()
            controller.wait_current()
            mark.write()
        except ApiError as error:
            log.warning("adoption.not-marked", error=error)


def _ensure_speaker_key(cluster: Cluster, namespace: str) -> None:
    """Create the key the speakers authenticate each other with, unless there is one (MetalLB's Secret serves)."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.SPEAKER_KEY_SECRET, "namespace": namespace},
        "type": "Opaque",
        "stringData": {names.SPEAKER_KEY_FIELD: secrets.token_urlsafe(32)},
    }
    try:
        cluster.create(resource.SECRETS, secret, namespace)
        log.info("speaker-key.created", secret=names.SPEAKER_KEY_SECRET)
    except AlreadyExists:
        pass
