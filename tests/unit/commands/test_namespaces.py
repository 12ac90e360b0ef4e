"""One convention over all commands: `-n, --namespace` as with kubectl, AdmitLB's own namespace by another name.

What people run takes `--admitlb-namespace`; the components keep `--namespace`, which their manifests set.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from allocator.cli import main
from allocator.objects.names import DEFAULT_NAMESPACE

COMPONENTS = {"reconciler", "speaker", "webhook"}
WITHOUT_CLUSTER = {"completion"}
ABOUT_SERVICES = {"explain", "lint", "plan"}
"""Those that name a Service, or read documents that may name no namespace."""
ABOUT_OURS = {"install"}
"""There it is the same namespace, by either name: as with `helm install -n`, where to install."""
OURS = "ADMITLB_NAMESPACE"


def commands(command: click.Command, context: click.Context, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command and sub-command with the words that call it."""
    if path:
        yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, context, f"{path} {name}".strip())


COMMANDS = dict(commands(main, click.Context(main)))
OF_PEOPLE = {path: one for path, one in COMMANDS.items() if path not in COMPONENTS | WITHOUT_CLUSTER | ABOUT_OURS}


def option(command: click.Command, flag: str) -> click.Option | None:
    return next((one for one in command.params if isinstance(one, click.Option) and flag in one.opts), None)


def reads_ours(one: click.Parameter) -> bool:
    return one.envvar == OURS or (isinstance(one.envvar, list | tuple) and OURS in one.envvar)


def test_every_command_is_judged() -> None:
    assert set(COMMANDS) >= COMPONENTS | WITHOUT_CLUSTER | ABOUT_SERVICES | {"bgp", "bgp roll", "doctor", "pools"}


@pytest.mark.parametrize("path", OF_PEOPLE)
def test_a_person_names_our_namespace_by_an_option_of_its_own(path: str) -> None:
    ours = option(OF_PEOPLE[path], "--admitlb-namespace")
    assert ours is not None
    assert reads_ours(ours)
    assert ours.default == DEFAULT_NAMESPACE
    assert [one.name for one in OF_PEOPLE[path].params if reads_ours(one)] == [ours.name]


@pytest.mark.parametrize("path", OF_PEOPLE)
def test_a_persons_namespace_option_is_kubectls(path: str) -> None:
    theirs = option(OF_PEOPLE[path], "--namespace")
    short = option(OF_PEOPLE[path], "-n")
    assert theirs is short, "-n and --namespace are one option, or neither is there"
    assert (theirs is not None) == (path in ABOUT_SERVICES)


@pytest.mark.parametrize("path", sorted(ABOUT_OURS))
def test_where_both_are_one_it_goes_by_either_name(path: str) -> None:
    ours = option(COMMANDS[path], "--admitlb-namespace")
    assert ours is not None
    assert {"-n", "--namespace", "--admitlb-namespace"} <= set(ours.opts)


@pytest.mark.parametrize("path", sorted(COMPONENTS))
def test_a_components_namespace_option_is_ours(path: str) -> None:
    ours = option(COMMANDS[path], "--namespace")
    assert ours is not None
    assert reads_ours(ours)
    assert option(COMMANDS[path], "-n") is None
