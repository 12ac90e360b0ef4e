"""What `explain` and `pools` have in common: the way to the cluster, and what to say when there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from allocator import names
from allocator.allocations import read_time

if TYPE_CHECKING:
    from allocator.cluster import Cluster

UNREACHABLE = 2

_Command = TypeVar("_Command", bound=Callable[..., None])
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def live_options(command: _Command) -> _Command:
    """Add the options that say which cluster, and how AdmitLB is installed there."""
    options = (
        click.option(
            "--namespace",
            envvar="ADMITLB_NAMESPACE",
            default=names.DEFAULT_NAMESPACE,
            show_default=True,
            help="The namespace AdmitLB is installed in.",
        ),
        click.option(
            "--kubeconfig",
            envvar="ADMITLB_KUBECONFIG",
            type=click.Path(exists=True, dir_okay=False),
            help="How to reach the API server; by default as kubectl does.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def connected(kubeconfig: str | None) -> Iterator[Cluster]:
    """Give a connection. When the cluster cannot be reached or refuses, say so in a line and end the program."""
    # Imported here: the cluster's client takes longer to import than `lint` takes to run.
    from kubernetes.config import ConfigException  # noqa: PLC0415

    from allocator.cluster import ApiError, Cluster  # noqa: PLC0415

    try:
        yield Cluster.from_environment(kubeconfig)
    except ConfigException as error:
        _fail(f"no cluster to ask: {error}")
    except ApiError as error:
        _fail(f"the API server says {error}")


def age(moment: str) -> str:
    """Return how long ago a moment of the API was, as kubectl writes it; empty for none."""
    if not moment:
        return ""
    seconds = max(int((datetime.now(UTC) - read_time(moment)).total_seconds()), 0)
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size}{unit}"


def _fail(why: str) -> None:
    click.echo(f"Error: {why}", err=True)
    sys.exit(UNREACHABLE)
