"""Short ways to write manifests of the kinds for BGP, and to have documents judged."""

from __future__ import annotations

from functools import cache
from typing import Any

from allocator.commands import answers
from allocator.offline.input_documents import InputDocument
from allocator.offline.replay import Replay
from allocator.offline.schemas import Schemas
from allocator.rules.verdict import Rules
from tests.unit.commands.manifests import Object, Ran


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": f"metallb.io/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": spec,
    }


def peer(name: str = "tor", **spec: Any) -> Object:
    """A BGPPeer that nothing is to be said against or warned of; a field that is None is left out."""
    fields = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "holdTime": "9s", **spec}
    return _object("v1beta2", "BGPPeer", name, {key: value for key, value in fields.items() if value is not None})


def bgp_advertisement(name: str = "all", **spec: Any) -> Object:
    return _object("v1beta1", "BGPAdvertisement", name, spec)


def profile(name: str = "fast", **spec: Any) -> Object:
    return _object("v1beta1", "BFDProfile", name, spec)


def community(name: str = "names", **values: str) -> Object:
    """A Community of `name=value` pairs; `_` in a name is `-`."""
    listed = [{"name": key.replace("_", "-"), "value": value} for key, value in values.items()]
    return _object("v1beta1", "Community", name, {"communities": listed})


def judge(*documents: Object, strict: bool = False) -> Ran:
    """Answer documents as `lint` does, without reading the schemas each time."""
    inputs = [
        InputDocument(index=index, source="-", content=content, first_line=1)
        for index, content in enumerate(documents)
    ]
    given = Replay(Rules(strict=strict), _schemas()).run(inputs)
    return Ran(int(answers.denied(given)), {"documents": answers.as_json(given)})


@cache
def _schemas() -> Schemas:
    return Schemas.shipped()
