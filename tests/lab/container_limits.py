"""What a container may do, as the security contexts of the container and its Pod say it."""

from __future__ import annotations

from dataclasses import dataclass

from allocator.kube.client import Object
from tests.lab.container_spec import Unsupported

DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""What container runtimes leave root in a container that asks for nothing."""

ALL = "ALL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Who a container's process is and what it may do. `capabilities` bounds root too; None leaves every one."""

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: frozenset[str] | None
    no_new_privileges: bool
    read_only_root: bool
    default_seccomp: bool


def limits(container: Object, pod_spec: Object, *, image_user: tuple[int, int] = (0, 0)) -> Limits:
    """Return the container's limits; `image_user` is the user and group it runs as when the Pod names none.

    Raises Unsupported where the Pod demands a user other than root and nobody names one: no node would start it.
    """
    own = container.get("securityContext") or {}
    of_pod = pod_spec.get("securityContext") or {}
    context = {**of_pod, **own}
    user = int(context.get("runAsUser", image_user[0]))
    if context.get("runAsNonRoot") and user == 0:
        raise Unsupported(f"container {container['name']} has runAsNonRoot and would run as root")
    named_user = "runAsUser" in context
    group = int(context.get("runAsGroup", 0 if named_user else image_user[1]))
    groups = {int(each) for each in of_pod.get("supplementalGroups") or ()}
    if "fsGroup" in of_pod:
        groups.add(int(of_pod["fsGroup"]))
    return Limits(
        user=user,
        group=group,
        groups=tuple(sorted(groups)),
        capabilities=None if own.get("privileged") else _capabilities(own.get("capabilities") or {}),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        default_seccomp=(context.get("seccompProfile") or {}).get("type") == "RuntimeDefault",
    )


def _capabilities(changes: Object) -> frozenset[str]:
    dropped = {_bare(name) for name in changes.get("drop") or ()}
    added = {_bare(name) for name in changes.get("add") or ()}
    if ALL in added:
        raise Unsupported("capabilities.add: ALL")
    kept = frozenset() if ALL in dropped else DEFAULT_CAPABILITIES - dropped
    return kept | added


def _bare(name: str) -> str:
    return name.upper().removeprefix("CAP_")
