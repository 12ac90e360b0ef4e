"""`admitlb webhook`: the command line of the admission webhook."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from allocator import options
from allocator.core.pools import PriorityOrder
from allocator.kube.package import ConfigException
from allocator.objects.names import WEBHOOK_CONFIGURATION, WEBHOOK_SERVICE
from allocator.process import logs
from allocator.process.logs import EventLog
from webhook.certificates import Lifetimes
from webhook.component import Settings, Webhook
from webhook.serving import FATAL, listen, serve

log = EventLog("webhook")


def _seconds(name: str, default: timedelta, text: str) -> options.Option[Any]:
    return click.option(
        name,
        envvar="ADMITLB_" + name.removeprefix("--").replace("-", "_").upper(),
        type=options.Seconds(min=0.1),
        default=default.total_seconds(),
        show_default=True,
        help=text,
    )


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
@click.option(
    "--certificate-dir",
    envvar="ADMITLB_CERTIFICATE_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Serve with tls.crt and tls.key of this folder, as cert-manager writes them, and leave caBundle to others; "
    "by default the webhook is its own authority.",
)
@_seconds("--authority-lifetime-seconds", Lifetimes().authority, "How long an authority of our own is valid.")
@_seconds("--certificate-lifetime-seconds", Lifetimes().serving, "How long a certificate it signs is valid.")
@_seconds(
    "--certificate-settle-seconds",
    Lifetimes().settle,
    "How long API servers and replicas are given to notice each step from one authority to the next.",
)
@_seconds(
    "--path-secret-lifetime-seconds",
    Lifetimes().path_secret,
    "How long the secret of the paths at which the API server calls us is used.",
)
@options.lb_class
@options.take_over_foreign
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
    type=options.Seconds(0, 60),
    default=5.0,
    show_default=True,
    help="How long to answer on, not ready any more, once asked to stop.",
)
@options.max_unbound_reservations
@options.log_level
@options.kubeconfig
def webhook(
    namespace: str,
    port: int,
    monitor_port: int,
    service: str,
    configuration: str,
    certificate_dir: Path | None,
    authority_lifetime_seconds: float,
    certificate_lifetime_seconds: float,
    certificate_settle_seconds: float,
    path_secret_lifetime_seconds: float,
    lb_class: str,
    take_over_foreign: bool,
    strict: bool,
    pool_priority: str,
    drain_seconds: float,
    max_unbound_reservations: int,
    log_level: str,
    kubeconfig: str | None,
) -> None:
    """Answer admission reviews: check pools, and reserve an address for every Service that wants one."""
    logs.configure(log_level)
    try:
        lifetimes = Lifetimes(
            authority=timedelta(seconds=authority_lifetime_seconds),
            serving=timedelta(seconds=certificate_lifetime_seconds),
            path_secret=timedelta(seconds=path_secret_lifetime_seconds),
            settle=timedelta(seconds=certificate_settle_seconds),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    settings = Settings(
        namespace=namespace,
        port=port,
        monitor_port=monitor_port,
        service=service,
        configuration=configuration,
        certificate_dir=certificate_dir,
        lifetimes=lifetimes,
        lb_class=lb_class,
        take_over_foreign=take_over_foreign,
        strict=strict,
        priority_order=PriorityOrder(pool_priority),
        max_unbound_reservations=max_unbound_reservations,
        kubeconfig=kubeconfig,
    )
    listener = listen(port)
    settings = replace(settings, port=listener.getsockname()[1])
    log.info("webhook.listening", port=settings.port, namespace=namespace)
    serve(lambda: _build(settings), listener=listener, drain_seconds=drain_seconds)


def _build(settings: Settings) -> Webhook:
    """Called in the worker: a thread does not survive the fork."""
    log_thread = logs.write_in_background()
    try:
        return Webhook(settings, log_thread=log_thread)
    except (ConfigException, OSError) as error:
        # No way to the API server, or the monitoring port is taken: trying again by ourselves would not help.
        log.error("webhook.not_started", error=error)
        sys.exit(FATAL)
