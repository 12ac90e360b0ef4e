"""Every overlay and every combination of components renders, and the API's own models accept the result."""

from __future__ import annotations

import random
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from kubernetes import client
from pydantic import ValidationError

from allocator.kube.client import Object
from allocator.objects.names import DEFAULT_NAMESPACE
from allocator.reconciler import configuration_state
from tests.cluster.overlays import KUSTOMIZE, compose, folders, key, render

COMPONENTS = folders("components")
OVERLAYS = folders("overlays")
PREFIX = "edge-"
ANNOTATING = ("selinux", "argocd", "flux")
UNPREFIXED = {"CustomResourceDefinition", "Namespace"}
"""Their names are the API's and the `namespace` field's."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    return render(compose(tmp_path_factory.mktemp("base")))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_renders_to_objects_the_api_knows(name: str) -> None:
    objects = render(KUSTOMIZE / "overlays" / name)

    assert [fault for obj in objects for fault in faults(obj)] == []
    assert len({key(obj) for obj in objects}) == len(objects)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_changes_the_base_by_itself(tmp_path: Path, base: list[Object], name: str) -> None:
    objects = render(compose(tmp_path / "alone", name))

    assert [fault for obj in objects for fault in faults(obj)] == []
    assert objects != base
    assert {key(obj) for obj in base} <= {key(obj) for obj in objects}


def test_components_combine_in_any_order_before_those_that_change_what_there_is(tmp_path: Path) -> None:
    free = [name for name in COMPONENTS if name not in ANNOTATING]
    shuffled = random.Random(5).sample(free, len(free))

    one = render(compose(tmp_path / "one", *free, *ANNOTATING))
    other = render(compose(tmp_path / "other", *shuffled, *ANNOTATING))

    assert {key(obj): settled(obj) for obj in one} == {key(obj): settled(obj) for obj in other}


def test_the_remote_overlay_that_install_md_shows_renders_with_its_image(tmp_path: Path) -> None:
    """From a repository of git's own, in place of the one on the web that the page names."""
    page = (KUSTOMIZE.parent / "docs" / "install.md").read_text()
    shown = re.search(r"  ```yaml\n(  resources:.*?)  ```\n", page, re.S)
    assert shown is not None
    text, replaced = re.subn(r"https://\S+?(?=//kustomize)", f"file://{KUSTOMIZE.parent}", dedent(shown[1]))
    assert replaced == 1
    (tmp_path / "kustomization.yaml").write_text(re.sub(r"(?<=\?ref=)\S+", "HEAD", text))
    images = {
        container["image"]
        for obj in render(tmp_path)
        if obj["kind"] in {"Deployment", "DaemonSet"}
        for container in obj["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/admitlb:0.1.0"}


def test_no_rendered_registration_carries_a_certificate(tmp_path: Path) -> None:
    objects = render(compose(tmp_path / "all", *COMPONENTS))

    assert [key(obj) for obj in objects if "caBundle" in str(obj)] == []


def test_another_namespace_leaves_no_trace_of_the_first(tmp_path: Path) -> None:
    objects = render(compose(tmp_path / "moved", *COMPONENTS, namespace="lb"))

    left = [(key(obj), path) for obj in objects for path, text in texts(obj) if DEFAULT_NAMESPACE in text.split()]

    assert left == []


def test_every_reference_follows_a_prefix(tmp_path: Path, base: list[Object]) -> None:
    """Whole values only: a prefix must not reach into prose, and no value may keep a name that is no more."""
    objects = render(compose(tmp_path / "prefixed", namePrefix=PREFIX))
    renamed = {key(obj)[3] for obj in base if obj["kind"] not in UNPREFIXED and obj["kind"] in REFERRED_TO}
    named = {obj["metadata"]["name"] for obj in objects}

    assert {f"{PREFIX}{name}" for name in renamed} <= named
    for obj in objects:
        for path, text in texts(obj):
            left = text in renamed and REFERRING.search(path) is not None and (path, text) not in OF_ITS_OWN
            assert not left, f"{key(obj)} {path}: {text}"


def test_the_production_overlay_pins_an_image_by_digest() -> None:
    objects = render(KUSTOMIZE / "overlays" / "production")
    pods = [obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] in ("Deployment", "DaemonSet")]

    images = {container["image"] for pod in pods for container in pod["containers"]}

    assert len(images) == 1
    assert "@sha256:" in images.pop()


def test_the_ha_component_leaves_two_of_three_controllers_on_nodes_of_their_own(tmp_path: Path) -> None:
    objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in render(compose(tmp_path / "ha", "ha"))}
    deployment = objects["Deployment", "controller"]["spec"]
    (required,) = deployment["template"]["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    budget = objects["PodDisruptionBudget", "controller"]["spec"]

    assert deployment["replicas"] - deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 2
    assert required["topologyKey"] == "kubernetes.io/hostname"
    for selector in (required["labelSelector"], budget["selector"]):
        assert selector["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert budget["maxUnavailable"] == 1


REFERRED_TO = {
    "ServiceAccount",
    "ClusterRole",
    "Role",
    "Service",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
}
REFERRING = re.compile(
    r"\.(serviceAccountName|service\.name|roleRef\.name|subjects\[\d+\]\.name|env\[\d+\]\.value|resourceNames\[\d+\])$"
)
OF_ITS_OWN = {(f".rules[{index}].resourceNames[0]", configuration_state.NAME) for index in range(20)}
"""The code calls the controllers' ConfigurationState so, whatever their Deployment is called."""


def faults(obj: Object) -> list[str]:
    """Hold an object of Kubernetes' own kinds to the client's model of it, which takes no field it does not know."""
    model = getattr(client, f"{obj['apiVersion'].rpartition('/')[2].capitalize()}{obj['kind']}", None)
    if model is None:
        return []
    try:
        model.model_validate(obj)
    except ValidationError as error:
        return [f"{key(obj)} {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return []


def settled(obj: Object) -> Any:
    """The object with lists in the order of their names where their own order means nothing to Kubernetes."""
    return _sorted_lists(obj)


def _sorted_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: sorted(_sorted_lists(inner), key=lambda one: str(one["name"]))
            if name in ("containers", "env", "ports", "volumes", "volumeMounts", "webhooks", "subjects")
            and isinstance(inner, list)
            and all("name" in one for one in inner)
            else _sorted_lists(inner)
            for name, inner in value.items()
        }
    return [_sorted_lists(inner) for inner in value] if isinstance(value, list) else value


def texts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every string of an object with the path it is at, descriptions of schemas excepted."""
    if isinstance(value, dict):
        return [
            found
            for name, inner in value.items()
            if name != "description"
            for found in texts(inner, f"{path}.{name}")
        ]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in texts(inner, f"{path}[{index}]")]
    return [(path, value)] if isinstance(value, str) else []
