"""Health as Argo CD assesses it: its built-in rules for Kubernetes' kinds, Lua scripts of argocd-cm for others.

Built-in rules: github.com/argoproj/gitops-engine pkg/health. Argo CD runs scripts in gopher-lua, which is Lua 5.1,
with nothing but the basic functions and the libraries for strings, tables and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import lupa.lua51

from allocator.kube.client import Object

_SCRIPT = "resource.customizations.health."
_SAFE = ("ipairs", "pairs", "next", "type", "tostring", "tonumber", "string", "table", "math", "select", "unpack")


class Code(StrEnum):
    """What Argo CD shows."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"


@dataclass(frozen=True, slots=True)
class Health:
    """One assessment."""

    status: Code
    message: str = ""


class HealthChecks:
    """Argo CD's rules and the scripts of one argocd-cm. Kinds without either are healthy by existing."""

    def __init__(self, scripts: Mapping[str, str]) -> None:
        self._scripts = {key.removeprefix(_SCRIPT): text for key, text in scripts.items() if key.startswith(_SCRIPT)}

    @property
    def kinds(self) -> set[str]:
        """The kinds that have a script, as GROUP_KIND."""
        return set(self._scripts)

    def of(self, obj: Object) -> Health:
        """Assess one object as it is stored."""
        group, _, _ = obj["apiVersion"].rpartition("/")
        script = self._scripts.get(f"{group}_{obj['kind']}" if group else obj["kind"])
        if script is not None:
            return _run(script, obj)
        match obj["kind"]:
            case "Service":
                return _of_service(obj)
            case "Deployment":
                return _of_deployment(obj)
            case "DaemonSet":
                return _of_daemon_set(obj)
        return Health(Code.HEALTHY)


def _run(script: str, obj: Object) -> Health:
    lua = lupa.lua51.LuaRuntime(register_eval=False, register_builtins=False)
    function = lua.eval(f"function(obj) {script} end")
    lua.globals().setfenv(function, lua.table_from({name: lua.globals()[name] for name in _SAFE}))
    answer = function(lua.table_from(obj, recursive=True))
    return Health(Code(answer["status"]), answer["message"] or "")


def _of_service(obj: Object) -> Health:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    waits = obj["spec"].get("type") == "LoadBalancer" and not ingress
    return Health(Code.PROGRESSING if waits else Code.HEALTHY)


def _of_deployment(obj: Object) -> Health:
    status: dict[str, Any] = obj.get("status") or {}
    wanted, updated = obj["spec"].get("replicas", 1), status.get("updatedReplicas", 0)
    seen = obj["metadata"]["generation"] <= status.get("observedGeneration", 0)
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Health(Code.DEGRADED, condition.get("message", ""))
    complete = updated >= wanted and status.get("replicas", 0) <= updated <= status.get("availableReplicas", 0)
    return Health(Code.HEALTHY if seen and complete else Code.PROGRESSING)


def _of_daemon_set(obj: Object) -> Health:
    status: dict[str, Any] = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    seen = obj["metadata"]["generation"] <= status.get("observedGeneration", 0)
    complete = min(status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)) >= wanted
    return Health(Code.HEALTHY if seen and complete else Code.PROGRESSING)
