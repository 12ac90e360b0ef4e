"""One Flux Kustomization: the API calls that kustomize-controller makes for it, in its order.

After github.com/fluxcd/pkg ssa (ApplyAllStaged, hasDrifted, sort.go) and kustomize-controller's garbage collection.
What is left out: decryption, substitution, impersonation, and Flux's clean-up after kubectl.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from allocator.kube.client import ApiError, Object
from tests.cluster.gitops.api import Api, NoSuchKind
from tests.cluster.gitops.kstatus import Status, status_of
from tests.cluster.gitops.objects import Key, differences, key_of
from tests.lab.waiting import wait_until

FIELD_MANAGER = "kustomize-controller"
OWNER_LABELS = ("kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace")
PRUNE_ANNOTATION = "kustomize.toolkit.fluxcd.io/prune"

_DEFINITIONS = ("CustomResourceDefinition", "Namespace", "ClusterRole")
_FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "PriorityClass",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_ESTABLISHED_SECONDS = 30


class Action(StrEnum):
    """What became of an object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the result; `drift` says in which fields an object that was configured differed."""

    key: Key
    action: Action
    drift: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((str(self.key), self.action, *self.drift))


class ReconciliationFailed(Exception):
    """Why the Kustomization is not Ready; Flux tries again after its retryInterval."""


class Kustomization:
    """What one Flux Kustomization does at every interval; `inventory` is what it applied last."""

    def __init__(self, api: Api, name: str, *, health: Callable[[Object], Status] = status_of) -> None:
        """`health` is kstatus, or what `healthCheckExprs` make of it."""
        self._api = api
        self._health = health
        self._labels = dict(zip(OWNER_LABELS, (name, "flux-system"), strict=True))
        self.inventory: dict[Key, Object] = {}

    def reconcile(self, objects: Iterable[Object]) -> list[Change]:
        """Apply what differs, prune what is gone from Git. Raises ReconciliationFailed."""
        wanted = [self._owned(obj) for obj in objects]
        first = [obj for obj in wanted if obj["kind"] in _DEFINITIONS]
        changes = self._apply_all(first)
        self._wait_current(first)
        changes += self._apply_all([obj for obj in wanted if obj["kind"] not in _DEFINITIONS])
        applied = {key_of(obj): obj for obj in wanted}
        gone = [obj for key, obj in self.inventory.items() if key not in applied]
        # What could not be pruned stays in the inventory, and is tried again.
        self.inventory.update(applied)
        changes += self._prune(gone)
        self.inventory = applied
        return changes

    def health(self) -> dict[Key, Status]:
        """Return the status of everything in the inventory, as `wait: true` computes it."""
        return {key: self._health(live) for key, obj in self.inventory.items() if (live := self._api.live(obj))}

    def wait_ready(self, while_waiting: Callable[[], object], timeout_seconds: float = 90) -> None:
        """Wait until everything in the inventory is current."""

        def ready() -> bool:
            while_waiting()
            return not self._unready()

        wait_until(ready, timeout_seconds, "everything applied is current", interval_seconds=0.2)

    def _unready(self) -> list[str]:
        return [f"{key}: {status}" for key, status in self.health().items() if status is not Status.CURRENT]

    def _owned(self, obj: Object) -> Object:
        owned = copy.deepcopy(obj)
        owned["metadata"]["labels"] = {**(owned["metadata"].get("labels") or {}), **self._labels}
        if owned["kind"] == "Service":
            for port in owned["spec"].get("ports") or ():
                port.setdefault("protocol", "TCP")
        return owned

    def _apply_all(self, objects: Sequence[Object]) -> list[Change]:
        """Dry-run all before anything is applied, so that one refusal keeps all of them out."""
        ordered = sorted(objects, key=_rank)
        changes = [self._compared(obj) for obj in ordered]
        for obj, change in zip(ordered, changes, strict=True):
            if change.action is not Action.UNCHANGED:
                try:
                    self._api.apply(obj, manager=FIELD_MANAGER, dry_run=False)
                except ApiError as error:
                    raise ReconciliationFailed(f"{key_of(obj)} apply failed: {error.message}") from error
        return changes

    def _compared(self, obj: Object) -> Change:
        key = key_of(obj)
        try:
            live = self._api.live(obj)
            dry_run = self._api.apply(obj, manager=FIELD_MANAGER, dry_run=True)
        except NoSuchKind as error:
            raise ReconciliationFailed(f"{key} dry-run failed: {error}") from error
        except ApiError as error:
            raise ReconciliationFailed(f"{key} dry-run failed: {error.message}") from error
        if live is None:
            return Change(key, Action.CREATED)
        drift = tuple(differences(_compared_part(live), _compared_part(dry_run)))
        return Change(key, Action.CONFIGURED if drift else Action.UNCHANGED, drift)

    def _wait_current(self, objects: Sequence[Object]) -> None:
        def current() -> bool:
            return all((live := self._api.live(obj)) and status_of(live) is Status.CURRENT for obj in objects)

        wait_until(current, _ESTABLISHED_SECONDS, "definitions and namespaces are there")

    def _prune(self, objects: Sequence[Object]) -> list[Change]:
        """Delete only what still carries our labels and nothing that says otherwise; a refusal stops no other."""
        pruned, refused = [], []
        for obj in sorted(objects, key=_rank, reverse=True):
            live = self._api.live(obj)
            if live is None or not self._labels.items() <= live["metadata"].get("labels", {}).items():
                continue
            if (live["metadata"].get("annotations") or {}).get(PRUNE_ANNOTATION) == "disabled":
                continue
            try:
                self._api.remove(obj)
            except ApiError as error:
                refused.append(f"{key_of(obj)} delete failed: {error.message}")
                continue
            pruned.append(Change(key_of(obj), Action.DELETED))
        if refused:
            raise ReconciliationFailed("; ".join(refused))
        return pruned


def _rank(obj: Object) -> tuple[int, Key]:
    kind = obj["kind"]
    if kind in _FIRST:
        return _FIRST.index(kind) - len(_FIRST), key_of(obj)
    return (_LAST.index(kind) + 1 if kind in _LAST else 0), key_of(obj)


def _compared_part(obj: Object) -> Object:
    """Labels, annotations, and everything that is neither metadata nor status."""
    metadata = obj["metadata"]
    rest = {field: value for field, value in obj.items() if field not in ("metadata", "status")}
    return {**rest, "labels": metadata.get("labels") or {}, "annotations": metadata.get("annotations") or {}}
