"""Command-line options that several commands share; each reads the same ADMITLB_ environment variable everywhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from allocator.core.pools import PriorityOrder
from allocator.core.reservation_cap import MAX_UNBOUND_RESERVATIONS
from allocator.kube.access import Access
from allocator.objects import names
from allocator.process.log_levels import LEVELS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Option = Callable[[Decorated], Decorated]


_CENTURY_SECONDS = 100 * 365.25 * 24 * 3600


class Seconds(click.FloatRange):
    """A duration within bounds: `nan`, which no bound excludes, is refused, and `inf`.

    A century at most where nothing else is said, which the waits of Python's locks take and the clock can add.
    """

    def __init__(self, min: float, max: float = _CENTURY_SECONDS) -> None:
        """Both bounds are in seconds and allowed."""
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no duration; write seconds, as in 1.5", param, ctx)
        return seconds


namespace: Option[Any] = click.option(
    "--namespace",
    envvar="ADMITLB_NAMESPACE",
    default=names.DEFAULT_NAMESPACE,
    show_default=True,
    help="The namespace AdmitLB is installed in: pools, certificate, leases and keys live there.",
)
admitlb_namespace: Option[Any] = click.option(
    "--admitlb-namespace",
    envvar="ADMITLB_NAMESPACE",
    default=names.DEFAULT_NAMESPACE,
    show_default=True,
    help="The namespace AdmitLB is installed in, where its pools are.",
)
"""As `namespace`, for the commands people use: there `--namespace` is, as with kubectl, that of the object meant."""
lb_class: Option[Any] = click.option(
    "--lb-class",
    envvar="ADMITLB_LB_CLASS",
    default="",
    help="Only serve Services of this loadBalancerClass; by default those that name none.",
)
take_over_foreign: Option[Any] = click.option(
    "--take-over-foreign",
    envvar="ADMITLB_TAKE_OVER_FOREIGN",
    is_flag=True,
    help="Serve Services whose status another load balancer wrote; by default only those annotated "
    f"{names.TAKE_OVER_ANNOTATION}, or in a Namespace that is.",
)
pool_priority: Option[Any] = click.option(
    "--pool-priority",
    envvar="ADMITLB_POOL_PRIORITY",
    type=click.Choice([order.value for order in PriorityOrder]),
    default=PriorityOrder.LOWEST_FIRST.value,
    show_default=True,
    help="Which pools' serviceAllocation.priority is tried first.",
)
max_unbound_reservations: Option[Any] = click.option(
    "--max-unbound-reservations",
    envvar="ADMITLB_MAX_UNBOUND_RESERVATIONS",
    type=click.IntRange(min=1),
    default=MAX_UNBOUND_RESERVATIONS,
    show_default=True,
    help="How many addresses a namespace may have reserved for Services that are not stored yet.",
)
log_level: Option[Any] = click.option(
    "--log-level",
    envvar="ADMITLB_LOG_LEVEL",
    type=click.Choice(list(LEVELS)),
    default="info",
    show_default=True,
    help="Log from this level on.",
)


def cluster_access(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which a person's command finds its cluster, as kubectl has them; they come as one `access`."""

    @click.option(
        "--kubeconfig",
        envvar="ADMITLB_KUBECONFIG",
        type=click.Path(exists=True, dir_okay=False),
        help="How to reach the API server; by default as kubectl does, else as a pod does.",
    )
    @click.option("--context", metavar="NAME", help="The context of the kubeconfig; by default its current one.")
    @functools.wraps(command)
    def with_access(*args: Any, kubeconfig: str | None, context: str | None, **values: Any) -> Any:
        return command(*args, access=Access(kubeconfig or "", context or ""), **values)

    return with_access


kubeconfig: Option[Any] = click.option(
    "--kubeconfig",
    envvar="ADMITLB_KUBECONFIG",
    type=click.Path(exists=True, dir_okay=False),
    help="How to reach the API server; by default as a pod does, else as kubectl does.",
)


def monitor_port(default: int) -> Option[Any]:
    """The option for a component's port of probes and metrics; each component has a default of its own."""
    return click.option(
        "--monitor-port",
        envvar="ADMITLB_MONITOR_PORT",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="HTTP port of /healthz, /readyz and /metrics.",
    )
