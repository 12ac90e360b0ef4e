"""The schemas that documents are held to offline are the very ones that are shipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocator.offline.schemas import Checked, Kind, Schemas
from tests.unit.commands.manifests import Object, advertisement, pool, service

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "manifests" / "crds"
PACKED = Path("allocator", "shipped", "manifests", "crds")


def kind_of(document: Object) -> Kind:
    (kind,) = Schemas.shipped().versions(document)
    return kind


def checked(document: Object) -> Checked:
    return kind_of(document).check(document)


def test_every_shipped_definition_is_applied() -> None:
    definitions = [one for file in SHIPPED.glob("*.yaml") for one in yaml.safe_load_all(file.read_text())]
    assert definitions
    for definition in definitions:
        spec = definition["spec"]
        document = {"apiVersion": f"{spec['group']}/{spec['versions'][0]['name']}", "kind": spec["names"]["kind"]}
        assert [kind.api_version for kind in Schemas.shipped().versions(document)] == [
            f"{spec['group']}/{version['name']}" for version in spec["versions"] if version["served"]
        ]


def test_a_crd_is_read_when_its_kind_is_asked_for_and_not_before() -> None:
    (text,) = (file.read_text() for file in SHIPPED.glob("*_ipaddresspools.yaml"))
    schemas = Schemas((), ["kind: Unreadable\n{", text])
    assert schemas.versions({"apiVersion": "apps/v1", "kind": "Deployment"}) == []
    assert [kind.kind for kind in schemas.versions(pool("p"))] == ["IPAddressPool"]
    with pytest.raises(yaml.YAMLError):
        schemas.kinds()


def test_kinds_that_others_have_are_none_of_ours() -> None:
    schemas = Schemas.shipped()
    schemas.versions({"apiVersion": "metallb.io/v1beta1", "kind": "AddressPool"})
    assert "AddressPool" not in schemas.kinds()
    assert {"IPAddressPool", "BGPPeer", "IPAllocation"} < schemas.kinds()


def test_a_build_packs_exactly_the_shipped_definitions(tmp_path: Path) -> None:
    """There is one copy in the tree; this is what keeps a wheel from carrying another."""
    argv = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        "-e",
        str(tmp_path),
        "build_py",
        "-d",
        str(tmp_path / "lib"),
    ]
    subprocess.run(argv, check=True, cwd=ROOT, capture_output=True)
    packed = {file.name: file.read_bytes() for file in (tmp_path / "lib" / PACKED).iterdir()}
    assert packed == {file.name: file.read_bytes() for file in SHIPPED.glob("*.yaml")}


def test_what_was_packed_is_what_an_installed_copy_applies(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        "-e",
        str(tmp_path),
        "build_py",
        "-d",
        str(tmp_path / "lib"),
    ]
    subprocess.run(argv, check=True, cwd=ROOT, capture_output=True)
    installed = tmp_path / "lib"
    (installed / PACKED / "metallb.io_l2advertisements.yaml").unlink()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from allocator.offline.schemas import Schemas\n"
        "served = Schemas.shipped().versions\n"
        "print(*(len(served({'apiVersion': 'metallb.io/v1beta1', 'kind': kind})) for kind in sys.argv[2:]))\n"
    )
    argv = [sys.executable, "-c", script, str(installed), "IPAddressPool", "L2Advertisement"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "1 0\n"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (pool("p", 1), "spec.addresses[0]: 1 is not a string (quote it)"),  # type: ignore[arg-type]
        (pool("p", ""), "spec.addresses[0]: is empty"),
        (pool("p") | {"spec": None}, "spec: is required"),
        (
            pool("p", "10.0.0.1", reuseDelaySeconds=1 << 31),
            "spec.reuseDelaySeconds: 2147483648 does not fit an int32",
        ),
        (pool("p", "10.0.0.1", reuseDelaySeconds=-1), "spec.reuseDelaySeconds: -1 is too small; use 0 or more"),
        (advertisement("a", interfaces="eth0"), "spec.interfaces: 'eth0' is not a list"),
        (
            advertisement("a", preferredNodeSelectors=[{"weight": 101, "preference": {}}]),
            "spec.preferredNodeSelectors[0].weight: 101 is too large; use 100 or less",
        ),
        (service("s", ports=[{"port": "http"}]), "spec.ports[0].port: 'http' is not a whole number"),
        (
            service("s", ports=[{"port": 80, "protocol": "HTTP"}]),
            "spec.ports[0].protocol: 'HTTP' is unknown; use one",
        ),
        (service("s", labels={"a": 1}), "metadata.labels.a: 1 is not a string (quote it)"),  # type: ignore[dict-item]
    ],
)
def test_a_problem_names_field_value_and_remedy(document: Object, problem: str) -> None:
    assert [str(found)[: len(problem)] for found in checked(document).problems] == [problem]


def test_several_problems_come_in_the_order_of_the_fields() -> None:
    found = checked(pool("p", *[""] * 11, autoAssign=3)).problems
    assert [problem.path for problem in found] == [f"spec.addresses[{index}]" for index in range(11)] + [
        "spec.autoAssign"
    ]


def test_every_missing_field_is_named_once() -> None:
    entry = {"key": "a"}
    selectors = [{"matchExpressions": [{"values": ["x"]}, entry]}]
    found = checked(advertisement("a", nodeSelectors=selectors)).problems
    path = "spec.nodeSelectors[0].matchExpressions"
    assert [problem.path for problem in found] == [f"{path}[0].key", f"{path}[0].operator", f"{path}[1].operator"]


def test_unknown_fields_go_at_any_depth_and_metadata_is_left_alone() -> None:
    document = pool(
        "p", "10.0.0.1", serviceAllocation={"prio": 1, "namespaceSelectors": [{"matchlabels": {"a": "b"}}]}
    )
    document["metadata"]["finalizers"] = ["x/y"]
    result = checked(document)
    assert [problem.path for problem in result.unknown] == [
        "spec.serviceAllocation.prio",
        "spec.serviceAllocation.namespaceSelectors[0].matchlabels",
    ]
    spec: dict[str, Any] = result.content["spec"]
    assert spec["serviceAllocation"] == {"namespaceSelectors": [{}]}
    assert result.content["metadata"]["finalizers"] == ["x/y"]


SUBDOMAIN = "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
LABEL = "use lower-case letters, digits and '-', with a letter or digit at both ends"


def with_metadata(document: Object, **fields: Any) -> Object:
    """The document with these fields of its metadata, or without those that are None."""
    metadata = {key: value for key, value in {**document["metadata"], **fields}.items() if value is not None}
    return {**document, "metadata": metadata}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (pool("My_Pool", "10.0.0.1"), f"metadata.name: 'My_Pool' is no valid name; {SUBDOMAIN}"),
        (pool("пул", "10.0.0.1"), f"metadata.name: 'пул' is no valid name; {SUBDOMAIN}"),
        (pool("p.-", "10.0.0.1"), f"metadata.name: 'p.-' is no valid name; {SUBDOMAIN}"),
        (advertisement("a b"), f"metadata.name: 'a b' is no valid name; {SUBDOMAIN}"),
        (service("web.a"), f"metadata.name: 'web.a' is no valid name; {LABEL}"),
        (service("web", namespace="Shop"), f"metadata.namespace: 'Shop' is no valid name; {LABEL}"),
        (
            with_metadata(pool("p", "10.0.0.1"), name=None, generateName="p_"),
            f"metadata.generateName: 'p_' is no valid name; {SUBDOMAIN}",
        ),
        (
            with_metadata(pool("p", "10.0.0.1"), labels={"a b": "c"}),
            "metadata.labels[a b]: key 'a b' is no valid key; use letters",
        ),
        (
            with_metadata(pool("p", "10.0.0.1"), labels={"a": "b c"}),
            "metadata.labels[a]: value 'b c' is no label value; use letters",
        ),
        (
            with_metadata(service("s"), annotations={"metallb.io/": "x"}),
            "metadata.annotations[metallb.io/]: key 'metallb.io/' has no name; write name or prefix/name",
        ),
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}},
            f"metadata.name: 'a.b' is no valid name; {LABEL}",
        ),
    ],
)
def test_metadata_is_held_to_the_rules_of_the_api_server(document: Object, problem: str) -> None:
    assert [str(found)[: len(problem)] for found in checked(document).problems] == [problem]


@pytest.mark.parametrize(
    "document",
    [
        pool("p.1", "10.0.0.1"),
        pool("p" * 253, "10.0.0.1"),
        with_metadata(pool("p", "10.0.0.1"), name=None, generateName="p-"),
        with_metadata(pool("p", "10.0.0.1"), labels={"example.com/a": "", "b": "C.d_e-f"}),
        with_metadata(service("s"), annotations={"Example.com/A": "anything at all"}),
        # A first digit is allowed by newer servers.
        service("1web"),
    ],
    ids=lambda document: str(document["metadata"])[:60],
)
def test_metadata_that_the_api_server_takes_is_taken(document: Object) -> None:
    assert checked(document).problems == ()


def test_a_name_that_is_too_long_is_told_with_the_bound() -> None:
    for document, most in ((pool("p" * 254, "10.0.0.1"), 253), (service("s" * 64), 63)):
        (problem,) = checked(document).problems
        assert str(problem).startswith("metadata.name: ")
        assert problem.why.endswith(f"has {most + 1} characters; use {most} at most")
