"""Health as Flux assesses it where a Kustomization has `healthCheckExprs`, by the reference implementation of CEL.

After github.com/fluxcd/pkg runtime/cel: the object's own fields are the variables, one that is missing is an error,
and an error leaves Flux waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from cel_expr_python import cel

from allocator.kube.client import Object
from tests.cluster.gitops.kstatus import Status, status_of

_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status", "data")
_ORDER = (("inProgress", Status.IN_PROGRESS), ("failed", Status.FAILED), ("current", Status.CURRENT))


class BadExpression(Exception):
    """The expression cannot be evaluated on the object; the message says why."""


@dataclass(frozen=True, slots=True)
class HealthCheckExpressions:
    """What one Kustomization waits by."""

    expressions: tuple[Object, ...]

    @classmethod
    def of(cls, kustomization: Object) -> HealthCheckExpressions:
        """Read a Flux Kustomization."""
        return cls(tuple(kustomization["spec"].get("healthCheckExprs") or ()))

    def kinds(self) -> list[str]:
        """The kinds that have expressions."""
        return [f"{one['apiVersion']}/{one['kind']}" for one in self.expressions]

    def status_of(self, obj: Object) -> Status:
        """Return how far the object has come: by the expressions for its kind, else by kstatus."""
        for one in self.expressions:
            if (one["apiVersion"], one["kind"]) == (obj["apiVersion"], obj["kind"]):
                return _evaluated(one, obj)
        return status_of(obj)


def _evaluated(expressions: Object, obj: Object) -> Status:
    observed = (obj.get("status") or {}).get("observedGeneration")
    if observed is not None and observed != obj["metadata"]["generation"]:
        return Status.IN_PROGRESS
    for field, status in _ORDER:
        try:
            if field in expressions and _true(expressions[field], obj):
                return status
        except BadExpression:
            return Status.IN_PROGRESS
    return Status.IN_PROGRESS


def _true(expression: str, obj: Object) -> bool:
    environment = cel.NewEnv(variables=dict.fromkeys(_FIELDS, cel.Type.DYN))
    result = environment.compile(expression).eval(data=_known(obj))
    if result.type() != cel.Type.BOOL:
        raise BadExpression(str(result.value()))
    return bool(result.value())


def _known(obj: Object) -> Object:
    return {field: obj[field] for field in _FIELDS if field in obj}
