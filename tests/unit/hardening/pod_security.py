"""The Pod Security Standards, as far as a pod template can break them: what each level forbids, field by field.

After https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.34), without Windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PodSpec = dict[str, Any]

_DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_PROFILES = ("RuntimeDefault", "Localhost")
_SELINUX_TYPES = (None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")


def against_baseline(spec: PodSpec) -> list[str]:
    """Return what the level `baseline` forbids in this pod, each as one line, sorted."""
    return sorted(_baseline(spec))


def against_restricted(spec: PodSpec) -> list[str]:
    """Return what the level `restricted` forbids in this pod, `baseline` included, sorted."""
    return sorted({*_baseline(spec), *_restricted(spec)})


def _baseline(spec: PodSpec) -> Iterator[str]:
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    yield from (f"volume {volume['name']}: hostPath" for volume in spec.get("volumes", ()) if "hostPath" in volume)
    of_pod = spec.get("securityContext") or {}
    for sysctl in of_pod.get("sysctls", ()):
        if sysctl["name"] not in _SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _profiles("pod", of_pod)
    for container in _containers(spec):
        name, context = container["name"], container.get("securityContext") or {}
        if context.get("privileged"):
            yield f"{name}: privileged"
        for capability in sorted({*_added(context)} - _DEFAULT_CAPABILITIES):
            yield f"{name}: capability {capability}"
        for port in container.get("ports", ()):
            if port.get("hostPort") or spec.get("hostNetwork"):
                # On the host's network every container port is one of the host's.
                yield f"{name}: hostPort {port.get('hostPort') or port['containerPort']}"
        if context.get("procMount", "Default") != "Default":
            yield f"{name}: procMount"
        yield from _profiles(name, context)


def _restricted(spec: PodSpec) -> Iterator[str]:
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']}: {kind}"
    of_pod = spec.get("securityContext") or {}
    if of_pod.get("runAsUser") == 0:
        yield "pod: runAsUser 0"
    for container in _containers(spec):
        name, context = container["name"], container.get("securityContext") or {}
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if not context.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
            yield f"{name}: runAsNonRoot"
        if context.get("runAsUser") == 0:
            yield f"{name}: runAsUser 0"
        profile = context.get("seccompProfile") or of_pod.get("seccompProfile") or {}
        if profile.get("type") not in _PROFILES:
            yield f"{name}: seccompProfile"
        if "ALL" not in (context.get("capabilities") or {}).get("drop", ()):
            yield f"{name}: capabilities not dropped"
        for capability in sorted({*_added(context)} - {"NET_BIND_SERVICE"}):
            yield f"{name}: capability {capability}"


def _profiles(name: str, context: dict[str, Any]) -> Iterator[str]:
    for field in ("seccompProfile", "appArmorProfile"):
        if (context.get(field) or {}).get("type", "RuntimeDefault") not in _PROFILES:
            yield f"{name}: {field}"
    options = context.get("seLinuxOptions") or {}
    if options.get("user") or options.get("role") or options.get("type") not in _SELINUX_TYPES:
        yield f"{name}: seLinuxOptions"


def _containers(spec: PodSpec) -> list[dict[str, Any]]:
    return [
        container
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(kind, ())
    ]


def _added(context: dict[str, Any]) -> list[str]:
    return list((context.get("capabilities") or {}).get("add", ()))
