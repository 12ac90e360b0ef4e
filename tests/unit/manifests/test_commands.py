"""What the manifests start is what the command line understands, on the ports everything else looks for it on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from allocator.cli import main
from tests.lab.container_spec import expanded
from tests.unit.manifests.documents import ROOT, shipped

PORT_OPTIONS = {"port": "webhook-server", "monitor_port": "metrics-", "heartbeat_port": "heartbeat"}
"""Which container port, by the beginning of its name, each option of a command opens."""
NAMESPACE = "elsewhere"


def containers() -> list[dict[str, Any]]:
    workloads = shipped("Deployment") + shipped("DaemonSet")
    return [container for workload in workloads for container in workload["spec"]["template"]["spec"]["containers"]]


CONTAINERS = {container["name"]: container for container in containers()}


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert isinstance(command, click.Command)
    return command


def parsed(container: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the command makes of the container's arguments and variables."""
    values: dict[str, str] = {}
    for entry in container["env"]:
        values[entry["name"]] = expanded(entry.get("value", NAMESPACE), values)
        monkeypatch.setenv(entry["name"], values[entry["name"]])
    program, subcommand = container["command"]
    assert program == "admitlb"
    args = [expanded(word, values) for word in container["args"]]
    return command_of(subcommand).make_context(subcommand, args).params


def variables_of(command: click.Command, *options: click.Parameter) -> set[str]:
    """Return the variables that these options (all of the command's where none are given) are read from."""
    prefix = command.context_settings.get("auto_envvar_prefix")
    found = set()
    for option in options or command.params:
        found |= {option.envvar} if isinstance(option.envvar, str) else set(option.envvar or ())
        found |= {f"{prefix}_{option.name}".upper()} if prefix and option.name else set()
    return found


def patched_variables() -> Iterator[Any]:
    """Every variable that a component sets for a command of ours, with the container it sets it for.

    A variable without a value of its own is there for others of the same patch to name.
    """
    for path in sorted((ROOT / "kustomize").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if not isinstance(document, dict) or document.get("kind") not in ("Deployment", "DaemonSet"):
                continue
            for container in document["spec"].get("template", {}).get("spec", {}).get("containers", ()):
                if container["name"] not in CONTAINERS:
                    continue
                for entry in container.get("env", ()):
                    if "valueFrom" in entry and f"$({entry['name']})" in str(container["env"]):
                        continue
                    where = Path(path).relative_to(ROOT / "kustomize")
                    yield pytest.param(container["name"], entry, id=f"{where}-{container['name']}-{entry['name']}")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_starts_with_arguments_its_command_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = parsed(CONTAINERS[name], monkeypatch)

    assert options["namespace"] == NAMESPACE, "the namespace is the Pod's own"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_variable_is_read_or_referred_to(name: str) -> None:
    container = CONTAINERS[name]
    known = variables_of(command_of(container["command"][1]))

    unread = [
        entry["name"]
        for entry in container["env"]
        if entry["name"] not in known and f"$({entry['name']})" not in " ".join(container["args"])
    ]

    assert unread == []


@pytest.mark.parametrize(("container", "entry"), list(patched_variables()))
def test_a_variable_that_a_component_sets_is_one_its_command_reads(container: str, entry: dict[str, Any]) -> None:
    command = command_of(CONTAINERS[container]["command"][1])
    (option,) = (one for one in command.params if entry["name"] in variables_of(command, one))

    option.type_cast_value(click.Context(command), entry["value"])


@pytest.mark.parametrize("name", CONTAINERS)
def test_shipped_ports_are_the_defaults_and_are_declared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = CONTAINERS[name]
    options = parsed(container, monkeypatch)
    defaults = {option.name: option.default for option in command_of(container["command"][1]).params}
    declared = {port["name"]: port["containerPort"] for port in container["ports"]}

    opened = {option: options[option] for option in PORT_OPTIONS if option in options}

    assert opened == {option: defaults[option] for option in opened}
    for option, port in opened.items():
        assert [number for one, number in declared.items() if one.startswith(PORT_OPTIONS[option])] == [port]


def test_every_service_leads_to_a_port_that_is_open() -> None:
    opened: dict[str, set[int]] = {}
    for workload in shipped("Deployment") + shipped("DaemonSet"):
        component = workload["spec"]["template"]["metadata"]["labels"]["component"]
        for container in workload["spec"]["template"]["spec"]["containers"]:
            opened.setdefault(component, set()).update(port["containerPort"] for port in container["ports"])

    for service in shipped("Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in opened[service["spec"]["selector"]["component"]], service["metadata"]["name"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_probe_asks_a_port_of_the_container_for_a_path_that_is_served(name: str) -> None:
    container = CONTAINERS[name]
    ports = {port["name"] for port in container["ports"]}

    probes = {"readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    for probe, path in probes.items():
        if probe not in container:
            continue
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] == path
