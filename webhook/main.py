"""`admitlb webhook`: the command line of the admission webhook."""

from __future__ import annotations

import sys
from dataclasses import replace

import click
from kubernetes.config import ConfigException

from allocator import logs, options
from allocator.core.pools import PriorityOrder
from allocator.logs import EventLog
from allocator.names import WEBHOOK_CONFIGURATION, WEBHOOK_SERVICE
from webhook.component import Settings, Webhook
from webhook.serving import FATAL, listen, serve

log = EventLog("webhook")


@click.command()
@options.namespace
@click.option(
    "--port",
    envvar="ADMITLB_WEBHOOK_PORT",
    type=click.IntRange(0, 65535),
    default=9443,
    show_default=True,
    help="HTTPS port the API server calls; 0 takes a free one.",
)
@options.monitor_port(9120)
@click.option(
    "--service",
    envvar="ADMITLB_WEBHOOK_SERVICE",
    default=WEBHOOK_SERVICE,
    show_default=True,
    help="The Service the API server calls us through; the certificate is issued for it.",
)
@click.option(
    "--configuration",
    envvar="ADMITLB_WEBHOOK_CONFIGURATION",
    default=WEBHOOK_CONFIGURATION,
    show_default=True,
    help="The mutating and the validating webhook configuration, both of this name, that register us.",
)
@options.lb_class
@click.option(
    "--strict",
    envvar="ADMITLB_STRICT",
    is_flag=True,
    help="Deny what would otherwise be admitted and left pending.",
)
@options.pool_priority
@click.option(
    "--drain-seconds",
    envvar="ADMITLB_DRAIN_SECONDS",
    type=click.FloatRange(0, 60),
    default=5.0,
    show_default=True,
    help="How long to answer on, not ready any more, once told to stop.",
)
@options.log_level
@options.kubeconfig
def webhook(
    namespace: str,
    port: int,
    monitor_port: int,
    service: str,
    configuration: str,
    lb_class: str,
    strict: bool,
    pool_priority: str,
    drain_seconds: float,
    log_level: str,
    kubeconfig: str | None,
) -> None:
    """Answer admission reviews: check pools, and reserve an address for every Service that wants one."""
    logs.configure(log_level)
    settings = Settings(
        namespace=namespace,
        port=port,
        monitor_port=monitor_port,
        service=service,
        configuration=configuration,
        lb_class=lb_class,
        strict=strict,
        priority_order=PriorityOrder(pool_priority),
        kubeconfig=kubeconfig,
    )
    listener = listen(port)
    settings = replace(settings, port=listener.getsockname()[1])
    log.info("webhook.listening", port=settings.port, namespace=namespace)
    serve(lambda: _build(settings), listener=listener, drain_seconds=drain_seconds)


def _build(settings: Settings) -> Webhook:
    try:
        return Webhook(settings)
    except (ConfigException, OSError) as error:
        # No way to the API server, or the monitoring port is taken: trying again by ourselves would not help.
        log.error("webhook.not_started", error=error)
        sys.exit(FATAL)
