"""What a container of a Pod asks for, as the lab's nodes read it: environment, volumes, ports."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import SECRETS, Resource

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Unsupported(Exception):
    """The Pod asks for something the lab's nodes do not do; the message names it."""


class NotYet(Exception):
    """Something the Pod refers to does not exist yet; a node waits for it."""


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` of the machine shown at `target` inside the container, which may write to it or only read it."""

    source: Path
    target: Path
    writable: bool = False


def environment(container: Object, pod: Object, cluster: Cluster) -> dict[str, str]:
    """Return the container's variables with every reference resolved. Raises NotYet, Unsupported."""
    if container.get("envFrom"):
        raise Unsupported("envFrom")
    values: dict[str, str] = {}
    for entry in container.get("env") or []:
        name = entry["name"]
        if "valueFrom" in entry:
            values[name] = _value_from(entry["valueFrom"], pod, cluster)
        else:
            values[name] = expanded(entry.get("value") or "", values)
    return values


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value where it has one, as Kubernetes does in args and values."""
    return _REFERENCE.sub(lambda match: values.get(match[1], match[0]), text)


def volume_files(volume: Object, namespace: str, cluster: Cluster) -> dict[str, bytes] | None:
    """Return the files a volume consists of, or None for an empty directory. Raises NotYet, Unsupported."""
    if "emptyDir" in volume:
        return None
    if "secret" in volume:
        source = volume["secret"]
        data = _data(SECRETS, source["secretName"], namespace, cluster, optional=bool(source.get("optional")))
        files = {key: base64.b64decode(value) for key, value in data.items()}
    elif "configMap" in volume:
        source = volume["configMap"]
        data = _data(CONFIG_MAPS, source["name"], namespace, cluster, optional=bool(source.get("optional")))
        files = {key: value.encode() for key, value in data.items()}
    else:
        kinds = ", ".join(key for key in volume if key != "name")
        raise Unsupported(f"volume {volume['name']} of kind {kinds}")
    if items := source.get("items"):
        return {item["path"]: files[item["key"]] for item in items}
    return files


def port_number(container: Object, port: int | str) -> int:
    """Return the number of a port given by number or by name."""
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or []:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise Unsupported(f"port {port!r} of container {container['name']} is not declared")


def _value_from(source: Object, pod: Object, cluster: Cluster) -> str:
    namespace = pod["metadata"]["namespace"]
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], pod)
    for key, resource in (("secretKeyRef", SECRETS), ("configMapKeyRef", CONFIG_MAPS)):
        if key in source:
            reference = source[key]
            data = _data(resource, reference["name"], namespace, cluster, optional=bool(reference.get("optional")))
            if reference["key"] not in data:
                if reference.get("optional"):
                    return ""
                raise NotYet(f"key {reference['key']} of {resource.kind} {reference['name']}")
            value = str(data[reference["key"]])
            return base64.b64decode(value).decode() if resource is SECRETS else value
    raise Unsupported(f"env valueFrom {', '.join(source)}")


def _field(path: str, pod: Object) -> str:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := _KEYED_FIELD.fullmatch(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    fields: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs") or []),
    }
    if path not in fields:
        raise Unsupported(f"fieldRef {path}")
    return str(fields[path] or "")


def _data(resource: Resource, name: str, namespace: str, cluster: Cluster, *, optional: bool) -> dict[str, str]:
    try:
        return dict(cluster.get(resource, name, namespace).get("data") or {})
    except NotFound as error:
        if optional:
            return {}
        raise NotYet(f"{resource.kind} {namespace}/{name}") from error
