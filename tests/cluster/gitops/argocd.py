"""One Argo CD Application: the API calls its controller makes to compare, sync and look for what to prune.

After github.com/argoproj/gitops-engine pkg/sync and pkg/diff. Argo CD applies with kubectl's own code, so that here
kubectl does it. What is left out: hooks, resource exclusions, ignoreDifferences (which AdmitLB needs none of).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import yaml

from allocator.kube.client import ApiError, Object
from tests.cluster.gitops.api import Api, NoSuchKind
from tests.cluster.gitops.argocd_health import Code, HealthChecks
from tests.cluster.gitops.objects import Key, differences, key_of
from tests.cluster.gitops.site import Site
from tests.lab.waiting import NeverHappened

FIELD_MANAGER = "argocd-controller"
TRACKING_ANNOTATION = "argocd.argoproj.io/tracking-id"
WAVE_ANNOTATION = "argocd.argoproj.io/sync-wave"
SKIP_DRY_RUN = "SkipDryRunOnMissingResource=true"
OPTIONS_ANNOTATION = "argocd.argoproj.io/sync-options"

_ORDER = (
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Deployment",
)
_WAVE_SECONDS = 90


_FAULT_WITH_DEFINITIONS = "applying patch locally: expected a struct, but received a nil"
"""kubectl 1.36 cannot dry-run a CustomResourceDefinition that exists on the client (kubernetes issue 139538)."""


class SyncFailed(Exception):
    """Why a sync operation failed; Argo CD tries again as `retry` says."""


class ComparisonFailed(Exception):
    """Why an Application's sync status is Unknown: automated sync waits until it is known again."""


class Application:
    """What one Argo CD Application does; `server_side` is the sync option ServerSideApply=true."""

    def __init__(
        self,
        site: Site,
        name: str,
        health: HealthChecks,
        *,
        server_side: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """`options` are the Application's syncOptions that the dry run looks at."""
        self._site = site
        self._api: Api = site.api
        self._name = name
        self._health = health
        self._server_side = server_side
        self._options = tuple(options)

    def server_side(self) -> Application:
        """Return the same Application with the sync option ServerSideApply=true and server-side diff."""
        return Application(self._site, self._name, self._health, server_side=True, options=self._options)

    def sync(self, objects: Iterable[Object]) -> list[str]:
        """Apply everything, wave after wave, each only once the one before is healthy; return what kubectl says.

        Raises SyncFailed.
        """
        wanted = sorted((self._tracked(obj) for obj in objects), key=_rank)
        self._dry_run(wanted)
        said = []
        for _, group in groupby(wanted, key=_wave):
            wave = list(group)
            said += self._apply(wave)
            self._wait_healthy(wave)
        return said

    def drift(self, objects: Iterable[Object]) -> list[str]:
        """Say what is OutOfSync: what is missing, and in what the live objects differ.

        Raises ComparisonFailed. Server-side diff asks nothing about objects that do not exist yet.
        """
        wanted = [self._tracked(obj) for obj in objects]
        missing = [obj for obj in wanted if self._live(obj) is None]
        said = [f"{key_of(obj)} is missing" for obj in missing]
        if self._server_side:
            return [*said, *self._predicted_drift([obj for obj in wanted if obj not in missing])]
        return said or self._three_way_drift(wanted)

    def prunable(self, objects: Iterable[Object]) -> list[Key]:
        """Return what is tracked as the Application's and not in Git any more."""
        wanted = {key_of(obj): self._tracking_id(obj) for obj in objects}
        found = []
        for obj in self._api.everything():
            annotations = obj["metadata"].get("annotations") or {}
            # Who copies annotations copies the id as well: it counts only on the object it names.
            if annotations.get(TRACKING_ANNOTATION) == self._tracking_id(obj) and key_of(obj) not in wanted:
                found.append(key_of(obj))
        return found

    def prune(self, objects: Iterable[Object]) -> list[Key]:
        """Delete what is prunable, unless it says Prune=false; return what was deleted."""
        keys, pruned = set(self.prunable(objects)), []
        for obj in list(self._api.everything()):
            options = (obj["metadata"].get("annotations") or {}).get(OPTIONS_ANNOTATION, "")
            if key_of(obj) in keys and "Prune=false" not in options:
                self._api.remove(obj)
                pruned.append(key_of(obj))
        return pruned

    def health(self, objects: Iterable[Object]) -> dict[Key, Code]:
        """Return the health of every object of the Application that exists."""
        return {key_of(obj): self._health.of(live).status for obj in objects if (live := self._live(obj))}

    def _tracked(self, obj: Object) -> Object:
        tracked = copy.deepcopy(obj)
        annotations = tracked["metadata"].get("annotations") or {}
        tracked["metadata"]["annotations"] = {**annotations, TRACKING_ANNOTATION: self._tracking_id(obj)}
        return tracked

    def _tracking_id(self, obj: Object) -> str:
        key = key_of(obj)
        return f"{self._name}:{key.group}/{key.kind}:{key.namespace}/{key.name}"

    def _live(self, obj: Object) -> Object | None:
        try:
            return self._api.live(obj)
        except NoSuchKind:
            return None

    def _dry_run(self, wanted: Sequence[Object]) -> None:
        """Always on the client's side; passed over for kinds that this very sync brings, or that say so."""
        definitions = [obj["spec"] for obj in wanted if obj["kind"] == "CustomResourceDefinition"]
        brought = {(spec["group"], spec["names"]["kind"]) for spec in definitions}
        checked = []
        for obj in wanted:
            options = (*self._options, *obj["metadata"]["annotations"].get(OPTIONS_ANNOTATION, "").split(","))
            skips = SKIP_DRY_RUN in options or (key_of(obj).group, obj["kind"]) in brought
            if not (skips and self._unknown(obj)):
                checked.append(obj)
        command = ("apply", "--dry-run=client", f"--field-manager={FIELD_MANAGER}")
        try:
            self._kubectl(checked, *command)
        except SyncFailed as error:
            if _FAULT_WITH_DEFINITIONS not in str(error):
                raise
            self._kubectl([obj for obj in checked if obj["kind"] != "CustomResourceDefinition"], *command)

    def _unknown(self, obj: Object) -> bool:
        group, _, version = obj["apiVersion"].rpartition("/")
        try:
            self._api.resource(group, version, obj["kind"])
        except NoSuchKind:
            return True
        return False

    def _apply(self, wave: Sequence[Object]) -> list[str]:
        how = ("--server-side", "--force-conflicts") if self._server_side else ()
        return self._kubectl(wave, "apply", f"--field-manager={FIELD_MANAGER}", *how).splitlines()

    def _kubectl(self, objects: Sequence[Object], *arguments: str) -> str:
        done = self._site.control_plane.kubectl(*arguments, "-f", "-", stdin=yaml.safe_dump_all(objects), check=False)
        if done.returncode != 0:
            raise SyncFailed(done.stderr)
        return done.stdout

    def _wait_healthy(self, wave: Sequence[Object]) -> None:
        def healthy() -> bool:
            return set(self.health(wave).values()) == {Code.HEALTHY}

        try:
            self._site.wait(healthy, _WAVE_SECONDS, f"wave {_wave(wave[0])} is healthy")
        except NeverHappened as error:
            raise SyncFailed(f"{error}; {self.health(wave)}") from error

    def _three_way_drift(self, wanted: Sequence[Object]) -> list[str]:
        """What `kubectl diff` finds: last applied, wanted and live.

        It asks the API server, as Argo CD does not: what would be refused differs.
        """
        done = self._site.control_plane.kubectl("diff", "-f", "-", stdin=yaml.safe_dump_all(wanted), check=False)
        return (done.stderr if done.returncode > 1 else done.stdout).splitlines()

    def _predicted_drift(self, wanted: Sequence[Object]) -> Iterator[str]:
        """Server-side diff, with what webhooks make of the dry run left in (IncludeMutationWebhook=true)."""
        for obj in wanted:
            try:
                predicted = self._api.apply(obj, manager=FIELD_MANAGER, dry_run=True)
            except ApiError as error:
                raise ComparisonFailed(f"{key_of(obj)}: {error.message}") from error
            for difference in differences(_normalised(self._live(obj)), _normalised(predicted)):
                yield f"{key_of(obj)}{difference}"


def _wave(obj: Object) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(WAVE_ANNOTATION, 0))


def _rank(obj: Object) -> tuple[int, int, str]:
    kind = obj["kind"]
    order = _ORDER.index(kind) - len(_ORDER) if kind in _ORDER else 0
    return _wave(obj), order, obj["metadata"]["name"]


def _normalised(obj: Object | None) -> Object:
    assert obj is not None
    metadata = {
        key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "creationTimestamp")
    }
    return {**obj, "metadata": metadata}
