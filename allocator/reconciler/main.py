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

from allocator import logs, names
from allocator.cluster import AlreadyExists, ApiError, Cluster
from allocator.leadership import Leadership
from allocator.monitor import Monitor
from allocator.reconciler.controller import Controller, Settings

log = logs.EventLog("reconciler")

_SUPERVISION_SECONDS = 0.5
_START_RETRY_SECONDS = 1.0


@click.command()
@click.option("--namespace", default=names.DEFAULT_NAMESPACE, show_default=True, help="Where pools are read from.")
@click.option("--lb-class", default="", help="Serve Services of this loadBalancerClass only.")
@click.option("--monitor-port", default=9121, show_default=True, help="Port of /healthz, /readyz and /metrics.")
@click.option("--log-level", type=click.Choice(logs.LEVEL_NAMES), default="info", show_default=True)
@click.option("--log-json", is_flag=True, help="Write log lines as JSON.")
@click.option("--kubeconfig", type=click.Path(exists=True), help="Outside a cluster: how to reach one.")
@click.option(
    "--tentative-age-seconds",
    default=90,
    show_default=True,
    help="How long an address reserved at admission waits for its Service.",
)
def reconciler(
    namespace: str,
    lb_class: str,
    monitor_port: int,
    log_level: str,
    log_json: bool,
    kubeconfig: str | None,
    tentative_age_seconds: int,
) -> None:
    """Bind, release and repair addresses, and write Service status."""
    logs.configure(log_level, as_json=log_json)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    cluster = Cluster.from_environment(kubeconfig)
    settings = Settings(
        namespace=namespace, lb_class=lb_class, tentative_age=timedelta(seconds=tentative_age_seconds)
    )
    sys.exit(_run(cluster, settings, monitor_port, stopping))


def _run(cluster: Cluster, settings: Settings, monitor_port: int, stopping: threading.Event) -> int:
    identity = f"{socket.gethostname()}_{uuid4().hex[:8]}"
    leadership = Leadership(
        cluster,
        namespace=settings.namespace,
        lease=names.RECONCILER_LEASE,
        identity=identity,
        on_started=lambda: _lead(cluster, settings, controller),
    )
    controller = Controller(cluster, settings, require_leadership=leadership.require)
    monitor = Monitor(monitor_port, ready=controller.problems)
    monitor.start()
    if not _start(controller, stopping):
        return 0
    leadership.start()
    failure = ""
    while not stopping.wait(_SUPERVISION_SECONDS):
        dead = controller.dead_threads() + ([] if monitor.alive else ["monitor"])
        failure = f"threads ended: {', '.join(dead)}" if dead else "leadership ended" if leadership.ended else ""
        if failure:
            # Start afresh: the restarted process reads everything anew and stands for election again.
            log.error("reconciler.failed", why=failure)
            break
    controller.stop()
    leadership.resign()
    monitor.stop()
    return 1 if failure else 0


def _start(controller: Controller, stopping: threading.Event) -> bool:
    told = False
    while not stopping.is_set():
        try:
            controller.start()
        except ApiError as error:
            if not told:
                log.warning("reconciler.waiting", error=error)
            told = True
            stopping.wait(_START_RETRY_SECONDS)
        else:
            return True
    return False


def _lead(cluster: Cluster, settings: Settings, controller: Controller) -> None:
    _ensure_speaker_key(cluster, settings.namespace)
    controller.lead()


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
        cluster.create(names.SECRETS, secret, namespace)
        log.info("speaker-key.created", secret=names.SPEAKER_KEY_SECRET)
    except AlreadyExists:
        pass
