"""`admitlb speaker`: one node's speaker as a process."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click
from prometheus_client import REGISTRY

from allocator import options
from allocator.kube.client import Cluster
from allocator.kube.package import ConfigException
from allocator.process import logs
from allocator.process.log_metrics import DroppedLines
from allocator.process.log_thread import LogThread
from allocator.process.logs import EventLog
from speaker.layer2.gratuitous import REFRESH_SECONDS
from speaker.membership.durations import (
    DEFAULT_DEAD_AFTER_SECONDS,
    DEFAULT_INTERVAL_SECONDS,
    UnfitDurations,
    check_durations,
)
from speaker.membership.service import SWITCH_SECONDS
from speaker.monitor_port import MonitorPort
from speaker.netdev.excluded_interfaces import InvalidExclusions, excluded_interfaces
from speaker.process import BGP_METRICS_PORT, Settings, Speaker, Stopped
from speaker.realtime import prefer_process

log = EventLog("speaker")

_SUPERVISION_SECONDS = 0.5
_PORT = click.IntRange(1, 65535)
_DURATION_SECONDS = options.Seconds(0.01, 60.0)

LEAVE_WAIT_SECONDS = 2.0
"""Routers act upon a marked route within milliseconds; those with very many routes take longer."""
KUBE_PROXY_URL = "http://127.0.0.1:10256/healthz"


@click.command(context_settings={"auto_envvar_prefix": "ADMITLB"})
@options.namespace
@click.option("--node-name", required=True, help="The Node this speaker runs on.")
@click.option("--heartbeat-port", type=_PORT, default=7946, show_default=True, help="UDP, the same on every node.")
@options.monitor_port(9122)
@options.lb_class
@click.option(
    "--heartbeat-interval",
    type=_DURATION_SECONDS,
    default=DEFAULT_INTERVAL_SECONDS,
    show_default=True,
    help="Seconds between two heartbeats to the same node.",
)
@click.option(
    "--dead-after",
    type=_DURATION_SECONDS,
    default=DEFAULT_DEAD_AFTER_SECONDS,
    show_default=True,
    help="Seconds of silence after which a node's addresses move.",
)
@click.option(
    "--announce-refresh",
    type=options.Seconds(0.0),
    default=REFRESH_SECONDS,
    show_default=True,
    help="Seconds, about, after which the LAN is informed again where an address is; 0 for never.",
)
@click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Ask the LAN before announcing a new address, and leave it to a host that has it. "
    "Turn it off where a router answers ARP for addresses that are not its own.",
)
@click.option(
    "--announce-from",
    type=click.Choice(["subnet", "any"]),
    default="subnet",
    show_default=True,
    help="Which nodes are to announce an address: those with an interface in its subnet before all others, or any.",
)
@click.option(
    "--realtime/--no-realtime",
    default=False,
    show_default=True,
    help="Hear and answer before all programs that are not real-time; needs the capability SYS_NICE.",
)
@click.option(
    "--frr-sockets",
    type=click.Path(path_type=Path),
    help="Folder of the sockets of FRR's daemons on this node: announce by BGP as well. Without it, layer 2 only.",
)
@click.option(
    "--kube-proxy-url",
    default=KUBE_PROXY_URL,
    show_default=True,
    help="BGP: a node that comes back announces once this answers 200, or has refused connections for 30 seconds; an "
    "IP address, no name; empty to ask nobody.",
)
@click.option(
    "--leave-wait",
    type=options.Seconds(0.0, 300.0),
    default=LEAVE_WAIT_SECONDS,
    show_default=True,
    help="BGP: seconds that routers have to prefer other nodes before a node that leaves withdraws its routes.",
)
@click.option(
    "--leave-on-cordon/--no-leave-on-cordon",
    default=False,
    show_default=True,
    help="BGP: a node leaves when it is cordoned, too.",
)
@click.option(
    "--bgp-metrics-port",
    type=_PORT,
    default=BGP_METRICS_PORT,
    show_default=True,
    help="BGP: TCP port of its metrics, MetalLB's.",
)
@options.log_level
@options.kubeconfig
def speaker(
    namespace: str,
    node_name: str,
    heartbeat_port: int,
    monitor_port: int,
    lb_class: str,
    heartbeat_interval: float,
    dead_after: float,
    announce_refresh: float,
    probe: bool,
    announce_from: str,
    realtime: bool,
    frr_sockets: Path | None,
    kube_proxy_url: str,
    leave_wait: float,
    leave_on_cordon: bool,
    bgp_metrics_port: int,
    log_level: str,
    kubeconfig: str | None,
) -> None:
    """Answer ARP and neighbour solicitations on this node for the addresses elected to it."""
    try:
        check_durations(heartbeat_interval, dead_after)
    except UnfitDurations as error:
        raise click.UsageError(str(error)) from error
    if frr_sockets is not None:
        # Without FRR nothing of BGP is imported.
        from speaker.bgp.kube_proxy import check_url  # noqa: PLC0415

        try:
            check_url(kube_proxy_url)
        except ValueError as error:
            raise click.UsageError(f"--kube-proxy-url: {error}") from error
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.configure(log_level)
    try:
        excluded = excluded_interfaces()
    except (InvalidExclusions, OSError) as error:
        raise click.ClickException(str(error)) from error
    try:
        cluster = Cluster.from_environment(kubeconfig)
    except ConfigException as error:
        raise click.ClickException(f"no way to reach the API server: {error}") from error
    settings = Settings(
        node=node_name,
        namespace=namespace,
        heartbeat_port=heartbeat_port,
        lb_class=lb_class,
        heartbeat_interval_seconds=heartbeat_interval,
        dead_after_seconds=dead_after,
        announce_refresh_seconds=announce_refresh,
        probe=probe,
        announce_from_subnet=announce_from == "subnet",
        excluded_interfaces=excluded,
        realtime=realtime,
        frr_sockets=frr_sockets,
        kube_proxy_url=kube_proxy_url,
        leave_wait_seconds=leave_wait,
        leave_on_cordon=leave_on_cordon,
        bgp_metrics_port=bgp_metrics_port,
    )
    if realtime:
        prefer_process()
    log_thread = logs.write_in_background()
    REGISTRY.register(DroppedLines(log_thread))
    sys.exit(_run(Speaker(cluster, settings, REGISTRY), log_thread, monitor_port=monitor_port))


def _run(instance: Speaker, log_thread: LogThread, *, monitor_port: int) -> int:
    told = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        told.set()
        instance.interrupt()
        log.info("speaker.stopping", signal=signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    monitor = MonitorPort(
        monitor_port, ready=instance.not_ready, healthy=instance.dead, on_held=instance.warnings.monitor_port_held
    )
    monitor.start()
    dead: list[str] = []
    try:
        instance.start()
        while not (dead or told.wait(_SUPERVISION_SECONDS)):
            others = {"the log's thread": log_thread.alive, "the monitoring port": monitor.alive}
            dead = instance.dead() + [f"{name} has died" for name, alive in others.items() if not alive]
    except Stopped:
        dead = instance.dead()
    except OSError as error:
        dead = [f"cannot start: {error}"]
    for reason in dead:
        log.error("speaker.failed", reason=reason)
    instance.stop()
    monitor.stop()
    return 1 if dead else 0
