"""BGPPeers that a cluster stored as v1beta1 long ago: the commands of docs/migration.md, and why they are needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from allocator.commands.install import STORED
from allocator.kube.client import ApiError, NotFound, Object
from allocator.kube.resource import Resource
from allocator.objects.names import BGP_PEERS, DEFAULT_NAMESPACE
from tests.cluster.conversion_webhook import ConversionWebhook
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RELEASES = Path(__file__).parent / "metallb_crds"
OURS = ROOT / "manifests" / "crds" / "metallb.io_bgppeers.yaml"
NAME = "bgppeers.metallb.io"
OLD = Resource("metallb.io", "v1beta1", "bgppeers", "BGPPeer")
DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
SECONDS = 30.0
SPECS = {
    "plain": {"myASN": 64500, "peerASN": 64501, "peerAddress": "10.0.0.1"},
    "full": {
        "myASN": 64500,
        "peerASN": 64501,
        "peerAddress": "10.0.0.2",
        "sourceAddress": "10.0.0.9",
        "peerPort": 1179,
        "holdTime": "90s",
        "keepaliveTime": "30s",
        "routerID": "10.10.10.10",
        "password": "no-secret",
        "bfdProfile": "fast",
        "ebgpMultiHop": True,
        "nodeSelectors": [
            {
                "matchLabels": {"rack": "a"},
                "matchExpressions": [{"key": "gpu", "operator": "In", "values": ["none"]}],
            }
        ],
    },
}
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own, on which MetalLB's definitions come and go."""
    with ControlPlane(find(), tmp_path_factory.mktemp("stored")) as control_plane:
        control_plane.kubectl("create", "namespace", DEFAULT_NAMESPACE)
        yield control_plane


@pytest.fixture(params=sorted(path.stem for path in RELEASES.glob("0.*.yaml")))
def upgraded(request: pytest.FixtureRequest, empty: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    """Peers stored by MetalLB's operator 0.12.0, then a later release of MetalLB, whose webhook converts."""
    cluster = empty.cluster()
    definition(empty, load("operator-0.12.0"))
    for name, spec in SPECS.items():
        metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
        peer: Object = {"apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": metadata, "spec": spec}
        # A definition is in discovery a moment before it is served.
        wait_until(
            lambda peer=peer: cluster.create(OLD, peer, DEFAULT_NAMESPACE),  # type: ignore[misc]
            SECONDS,
            f"{name} is stored",
            retry_on=(NotFound,),
        )
    with ConversionWebhook(tmp_path) as webhook:
        later = load(str(request.param))
        later["spec"]["conversion"]["webhook"]["clientConfig"] = webhook.client_config
        definition(empty, later)
        wait_until(lambda: peers(empty), SECONDS, "v1beta2 is served", retry_on=(ApiError,))
        assert stored(empty) == ["v1beta1", "v1beta2"]
        yield empty
        empty.kubectl("delete", "crd", NAME)


def test_our_definition_is_refused_until_they_are_stored_anew(upgraded: ControlPlane) -> None:
    refused = upgraded.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(OURS), check=False)
    assert refused.returncode != 0
    assert "storedVersions" in refused.stderr
    tried = upgraded.kubectl("apply", "--dry-run=server", "-f", str(OURS), check=False)
    said = STORED.search(tried.stderr)
    assert said is not None, tried.stderr
    assert said.groups() == (NAME, "v1beta1")
    assert doctor(upgraded) == [("stored-versions", f"CRD {NAME}")]

    run(upgraded, section("BGPPeers stored as v1beta1")[0])

    assert stored(upgraded) == ["v1beta2"]
    assert doctor(upgraded) == []
    upgraded.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(OURS))
    # What is still stored as v1beta1 could not be read any more.
    wait_until(lambda: versions(upgraded) == ["v1beta2"], SECONDS, "our definition is in force")
    found = peers(upgraded)
    assert all(found["full"][key] == value for key, value in SPECS["full"].items())
    assert all(found["plain"][key] == value for key, value in SPECS["plain"].items())


def test_where_metallb_is_gone_nobody_has_to_convert(upgraded: ControlPlane) -> None:
    broken = upgraded.cluster().get(DEFINITIONS, NAME)
    broken["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": "https://127.0.0.1:1/convert"}
    definition(upgraded, broken)
    wait_until(
        lambda: upgraded.kubectl("get", NAME, "-A", check=False).returncode != 0, SECONDS, "nobody converts any more"
    )
    anew, alone = section("BGPPeers stored as v1beta1")

    run(upgraded, alone)
    run(upgraded, anew)

    upgraded.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(OURS))
    wait_until(lambda: versions(upgraded) == ["v1beta2"], SECONDS, "our definition is in force")
    found = peers(upgraded)
    assert all(found["full"][key] == value for key, value in SPECS["full"].items())
    assert all(found["plain"][key] == value for key, value in SPECS["plain"].items())
    assert "holdTime" not in found["plain"]


def load(name: str) -> Object:
    """Return a release's definition."""
    document: Object = yaml.safe_load((RELEASES / f"{name}.yaml").read_text())
    return document


def definition(plane: ControlPlane, document: Object) -> None:
    """Put a definition in force; rules that this API server does not know are left out."""
    kept = {key: value for key, value in document["metadata"].items() if key in ("name", "annotations")}
    text = yaml.safe_dump({**document, "metadata": kept, "status": None})
    plane.kubectl("apply", "--validate=false", "-f", "-", stdin=text)


def doctor(plane: ControlPlane) -> list[tuple[str, str]]:
    """What `admitlb doctor` finds of the stored versions."""
    words = ["--check", "stored-versions", "--output", "json"]
    argv: list[str | Path] = [BIN / "admitlb", "doctor", f"--kubeconfig={plane.kubeconfig()}", *words]
    result = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    found = json.loads(result.stdout)
    assert found["made"] == 1
    assert result.returncode == bool(found["findings"])
    return [(one["check"], one["subject"]) for one in found["findings"]]


def stored(plane: ControlPlane) -> list[str]:
    """Which versions may be in the store."""
    found: list[str] = plane.cluster().get(DEFINITIONS, NAME)["status"]["storedVersions"]
    return found


def versions(plane: ControlPlane) -> list[str]:
    """Which versions the definition has."""
    return [each["name"] for each in plane.cluster().get(DEFINITIONS, NAME)["spec"]["versions"]]


def peers(plane: ControlPlane) -> dict[str, Object]:
    """The peers' specs by name."""
    items = plane.cluster().list(BGP_PEERS, DEFAULT_NAMESPACE)["items"]
    return {each["metadata"]["name"]: each["spec"] for each in items}


def section(title: str) -> list[str]:
    """Return the shell blocks of a section of docs/migration.md."""
    text = (ROOT / "docs" / "migration.md").read_text()
    _, _, rest = text.partition(f"## {title}\n")
    return _BLOCK.findall(rest.partition("\n## ")[0])


def run(plane: ControlPlane, script: str) -> None:
    """Run a documented script as a person would, ending at the first command that fails."""
    folder = plane.binaries.kubectl.parent
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "KUBECONFIG": str(plane.kubeconfig("admin")),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
