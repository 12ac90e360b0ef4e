"""Definitions and code know the same fields: none is promised that nobody reads, none written that is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState, ForeignHost, Holder, Port
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.ip_allocation import claim_from, document_of
from allocator.objects.l2_advertisement import check_l2_advertisement
from allocator.objects.pool import pool_from
from allocator.offline.schemas import Schemas
from allocator.reconciler.configuration_state import status_of
from speaker.cluster.advertisements import advertisement_from
from tests.unit.manifests.documents import named

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAMPLES = {"spec.addresses[]": "192.0.2.0/24", "spec.excludeAddresses[]": "192.0.2.7"}


def schema_of(resource: Resource) -> Mapping[str, Any]:
    definition = named("CustomResourceDefinition", f"{resource.plural}.{resource.group}")
    schema: Mapping[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def fields(schema: Mapping[str, Any], path: str) -> set[str]:
    """Every path below `path` that a value can stand at; maps of free keys count as one value."""
    if "properties" in schema:
        return {found for key, inner in schema["properties"].items() for found in fields(inner, f"{path}.{key}")} | {
            path
        }
    return fields(schema["items"], f"{path}[]") if "items" in schema else {path}


def sample(schema: Mapping[str, Any], path: str) -> Any:
    """A value with every field of the schema filled in."""
    if "properties" in schema:
        return {key: sample(inner, f"{path}.{key}") for key, inner in schema["properties"].items()}
    if "items" in schema:
        return [sample(schema["items"], f"{path}[]")]
    plain = {"string": "x", "integer": schema.get("minimum", 1), "boolean": True, "object": {"a": "b"}}
    return SAMPLES.get(path, schema.get("enum", [plain[schema["type"]]])[0])


class Watched(dict[str, Any]):
    """A document that notes which of its fields are asked for."""

    def __init__(self, content: Mapping[str, Any], path: str, seen: set[str]) -> None:
        self._path, self._seen = path, seen
        super().__init__({key: watched(value, self._below(key), seen) for key, value in content.items()})

    def _below(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str, default: Any = None) -> Any:
        self._seen.add(self._below(key))
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._seen.add(self._below(key))
        return super().__getitem__(key)


def watched(value: Any, path: str, seen: set[str]) -> Any:
    if isinstance(value, dict):
        return Watched(value, path, seen)
    if isinstance(value, list):
        return [watched(inner, f"{path}[]", seen) for inner in value]
    return value


def read_advertisement(document: Any) -> None:
    check_l2_advertisement(document)
    advertisement_from(document)


def written() -> list[dict[str, Any]]:
    """A claim of every state as it is stored, with every field that any writer sets."""
    holder = Holder(
        namespace="production",
        name="web",
        uid="u",
        ports=frozenset({Port("TCP", 80)}),
        sharing_key="key",
        local_traffic=True,
        backend_key="app=web",
        sharing_namespaces=frozenset({"staging"}),
        since="2026-01-02T03:04:05Z",
    )
    unnamed = Holder(namespace="production", name="", generate_name="web-")
    return [
        document_of(
            Claim(
                address=Address.parse("192.0.2.1"),
                pool="main",
                state=state,
                holders=(holder, unnamed),
                original_pool="former",
                reassign=True,
                released_at="2026-01-02T03:04:05Z",
                foreign_host=ForeignHost(mac="02:00:00:00:00:01", node="node-1", interface="eth0"),
                conflicted_at="2026-01-02T03:04:05Z" if state is ClaimState.CONFLICTED else "",
            ),
            now=NOW,
            reuse_delay=timedelta(seconds=60),
        )
        for state in ClaimState
    ]


@pytest.mark.parametrize(
    ("resource", "read"),
    [(names.IP_ADDRESS_POOLS, pool_from), (names.L2_ADVERTISEMENTS, read_advertisement)],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
def test_every_field_of_the_spec_is_read(resource: Resource, read: Callable[[Any], object]) -> None:
    spec = schema_of(resource)["properties"]["spec"]
    seen: set[str] = set()

    read(watched({"metadata": {"name": "sample"}, "spec": sample(spec, "spec")}, "", seen))

    known = fields(spec, "spec")
    assert {path for path in known if path.rstrip("[]") not in seen} == set(), "promised and not read"
    assert {path for path in seen if path.startswith("spec") and path not in known | arrays(known)} == set()


def arrays(known: set[str]) -> set[str]:
    """The paths of lists themselves, whose items `known` has."""
    return {path.rpartition("[]")[0] for path in known if "[]" in path}


def test_an_allocation_is_written_with_the_fields_its_definition_has() -> None:
    (kind,) = Schemas.shipped().versions(written()[0])

    checked = [kind.check(document) for document in written()]

    assert [one.problems + one.unknown for one in checked] == [()] * len(checked)
    filled = {path for document in written() for path in paths(document["spec"], "spec")}
    assert filled == fields(schema_of(names.IP_ALLOCATIONS)["properties"]["spec"], "spec")


def test_an_allocation_is_read_back_as_it_was_written() -> None:
    for document in written():
        stored = {**document, "metadata": {**document["metadata"], "resourceVersion": "1"}}

        again = document_of(claim_from(stored), now=NOW, reuse_delay=timedelta(seconds=60))

        assert again["spec"] == document["spec"]


def test_a_configuration_state_is_written_with_the_fields_its_definition_has() -> None:
    resource = names.CONFIGURATION_STATES
    document = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "controller"},
        "status": status_of(None, ["IPAddressPool bad: spec.addresses[0]: is wrong"], now=NOW),
    }
    (kind,) = Schemas.shipped().versions(document)

    checked = kind.check(document)

    assert checked.problems + checked.unknown == ()


def paths(value: Any, path: str) -> set[str]:
    if isinstance(value, dict):
        return {path} | {found for key, inner in value.items() for found in paths(inner, f"{path}.{key}")}
    if isinstance(value, list):
        return {found for inner in value for found in paths(inner, f"{path}[]")}
    return {path}
