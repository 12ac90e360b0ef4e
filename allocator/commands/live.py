"""What `explain` and `pools` have in common: the way to the cluster, and what to say when there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from allocator.commands.printable import printable
from allocator.kube.timestamps import age_text

if TYPE_CHECKING:
    from allocator.kube.access import Access
    from allocator.kube.client import Cluster

UNREACHABLE = 2


@contextmanager
def connected(access: Access) -> Iterator[Cluster]:
    """Give a connection. When the cluster cannot be reached or refuses, say so in a line and end the program."""
    # Imported here: the cluster's client takes longer to import than `lint` takes to run.
    from allocator.kube.client import ApiError, Unavailable  # noqa: PLC0415
    from allocator.kube.package import ConfigException  # noqa: PLC0415

    try:
        yield access.cluster()
    except ConfigException as error:
        _fail(f"no cluster to ask: {error}")
    except ApiError as error:
        if isinstance(error, Unavailable) and not error.status:
            _fail(f"the API server does not answer: {error.message}; see whether kubectl reaches it")
        _fail(f"the API server says {error}")


def age(moment: str) -> str:
    """Return how long ago a moment of the API was, as kubectl writes it; empty for none."""
    return age_text(moment, datetime.now(UTC))


def _fail(why: str) -> NoReturn:
    click.echo(printable(f"Error: {why}"), err=True)
    sys.exit(UNREACHABLE)
