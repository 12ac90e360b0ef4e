"""What `lint` and `plan` have in common: their options, reading the input, replaying it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from allocator import options
from allocator.commands.printable import printable
from allocator.core.addresses import Family
from allocator.core.pools import PriorityOrder
from allocator.offline.input_documents import InputDocument, Unreadable, UnreadableInput, read
from allocator.offline.replay import Answer, Replay
from allocator.offline.schemas import Schemas
from allocator.rules.verdict import Rules

UNREADABLE = 2
"""The exit code when the input cannot be read; click uses the same for a wrong command line."""

_Command = TypeVar("_Command", bound=Callable[..., None])


class Families(click.ParamType[tuple[Family, ...]]):
    """The cluster's IP families, primary first, written `IPv4`, `IPv6` or both with a comma."""

    name = "families"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Family, ...]:
        if isinstance(value, tuple):
            return value
        by_name = {family.lower(): family for family in Family}
        written = [part.strip().lower() for part in str(value).split(",")]
        if len(set(written)) < len(written) or not set(written) <= set(by_name):
            self.fail(f"{value!r} is not IPv4, IPv6, IPv4,IPv6 or IPv6,IPv4", param, ctx)
        return tuple(by_name[part] for part in written)


def offline_options(command: _Command) -> _Command:
    """Add the options that say what the cluster is like."""
    added = (
        click.option(
            "--strict", envvar="ADMITLB_STRICT", is_flag=True, help="Deny what would otherwise stay pending."
        ),
        options.lb_class,
        options.take_over_foreign,
        click.option(
            "--cluster-families",
            type=Families(),
            default="IPv4",
            show_default=True,
            help="The cluster's IP families, primary first.",
        ),
        options.pool_priority,
        options.admitlb_namespace,
        click.option(
            "-n",
            "--namespace",
            default="default",
            show_default=True,
            help="Where documents go that name no namespace, as with kubectl's own --namespace.",
        ),
    )
    for option in reversed(added):
        command = option(command)
    return command


def replayed(
    paths: Sequence[str],
    *,
    on_unreadable: Callable[[UnreadableInput], None],
    on_passed_over: Callable[[Unreadable], None] = lambda _: None,
    **cluster: Any,
) -> tuple[Replay, list[Answer]]:
    """Replay the input, as `documents_in` reads it, into a `new_replay`."""
    documents = documents_in(paths, on_unreadable=on_unreadable, on_passed_over=on_passed_over)
    replay = new_replay(**cluster)
    return replay, replay.run(documents)


def documents_in(
    paths: Sequence[str],
    *,
    on_unreadable: Callable[[UnreadableInput], None] = lambda _: None,
    on_passed_over: Callable[[Unreadable], None] = lambda _: None,
) -> list[InputDocument]:
    """Read the input. What cannot be read is reported on stderr and to `on_unreadable`, and ends the program.

    Where it is another's document it only goes to stderr and to `on_passed_over`.
    """

    def pass_over(note: Unreadable) -> None:
        on_passed_over(note)
        click.echo(printable(f"Note: {note}; it is passed over"), err=True)

    try:
        return read(paths, on_passed_over=pass_over)
    except UnreadableInput as error:
        on_unreadable(error)
        for fault in error.faults:
            click.echo(printable(f"Error: {fault}"), err=True)
        sys.exit(UNREADABLE)


def new_replay(
    *,
    strict: bool,
    lb_class: str,
    take_over_foreign: bool,
    cluster_families: tuple[Family, ...],
    pool_priority: str,
    admitlb_namespace: str,
    namespace: str,
) -> Replay:
    """Return an empty cluster of which `offline_options` say what it is like."""
    rules = Rules(
        namespace=admitlb_namespace,
        lb_class=lb_class,
        strict=strict,
        take_over_foreign=take_over_foreign,
        order=PriorityOrder(pool_priority),
        families=cluster_families,
    )
    return Replay(rules, Schemas.shipped(), default_namespace=namespace)
