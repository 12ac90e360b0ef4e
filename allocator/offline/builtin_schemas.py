"""As much of the shape of Kubernetes' own kinds as is read here, in the schema language of CRDs.

The API server checks these kinds itself, and far more of them; what is here keeps a document that it would not
even decode from being decided upon.
"""

from __future__ import annotations

from typing import Any

from allocator.objects.metadata import NameForm

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_MAP: Schema = {"type": "object", "additionalProperties": _TEXT}
_ANYTHING: Schema = {"x-kubernetes-preserve-unknown-fields": True}

OBJECT_META: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "generateName": {"type": "string", "minLength": 1},
        "namespace": _TEXT,
        "labels": _TEXT_MAP,
        "annotations": _TEXT_MAP,
        "uid": _TEXT,
        "creationTimestamp": _TEXT,
        "deletionTimestamp": _TEXT,
    },
    "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
    **_ANYTHING,
}
"""metadata of every kind; a CRD's own schema says nothing of it."""

_PORT: Schema = {
    "type": "object",
    "required": ["port"],
    "properties": {
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "enum": ["TCP", "UDP", "SCTP"]},
    },
    **_ANYTHING,
}

_SERVICE: Schema = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "type": _TEXT,
                "ports": {"type": "array", "items": _PORT},
                "selector": _TEXT_MAP,
                "clusterIP": _TEXT,
                "clusterIPs": {"type": "array", "items": _TEXT},
                "loadBalancerIP": _TEXT,
                "loadBalancerClass": _TEXT,
                "externalTrafficPolicy": _TEXT,
                "ipFamilyPolicy": {
                    "type": "string",
                    "enum": ["SingleStack", "PreferDualStack", "RequireDualStack"],
                },
                "ipFamilies": {"type": "array", "items": {"type": "string", "enum": ["IPv4", "IPv6"]}},
            },
            **_ANYTHING,
        },
        "status": {
            "type": "object",
            "properties": {
                "loadBalancer": {
                    "type": "object",
                    "properties": {
                        "ingress": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"ip": _TEXT}, **_ANYTHING},
                        }
                    },
                    **_ANYTHING,
                }
            },
            **_ANYTHING,
        },
    },
    **_ANYTHING,
}

_NAMESPACE: Schema = {"type": "object", **_ANYTHING}

_LISTED: Schema = {"type": "array", "items": {"type": "object", **_ANYTHING}}

_NODE: Schema = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"taints": _LISTED}, **_ANYTHING},
        "status": {"type": "object", "properties": {"conditions": _LISTED, "addresses": _LISTED}, **_ANYTHING},
    },
    **_ANYTHING,
}

BUILTIN: dict[str, tuple[bool, NameForm, Schema]] = {
    "Service": (True, NameForm.LABEL, _SERVICE),
    "Namespace": (False, NameForm.LABEL, _NAMESPACE),
    "Node": (False, NameForm.SUBDOMAIN, _NODE),
}
"""By kind of the core group: whether its objects have a namespace, what their names may be, and the schema."""
