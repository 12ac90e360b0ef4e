"""What the cluster's webhook configurations say of us, and keeping our two fields in them.

The manifests carry neither caBundle nor path. Neither a client-side nor a server-side apply of them takes away a
field they never had, but `kubectl replace`, a forced apply of an edited copy or a recreation does, as does the first
apply of manifests without a path over those of a release that had one: both objects are watched, and both fields are
put back in one patch as soon as either differs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from allocator.kube.client import JSON_PATCH, ApiError, Cluster, NotFound, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from allocator.process.logs import EventLog
from webhook.certificate_manager import CertificateManager
from webhook.configuration_patch import Caller, bare_routes, callers, patch_of
from webhook.gate import Gate
from webhook.path_choice import Choice, PathChoice
from webhook.path_secret_manager import PathSecretManager
from webhook.path_token import PathSecrets, path_with_token
from webhook.routes import masked

log = EventLog("registration")

FIELD_MANAGER = "admitlb-webhook"
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_LOOK_SECONDS = 2.0
_UNDECIDED_SECONDS = 0.5
_OVERTAKEN = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""How the API server says that a patch was made from an older copy."""


class Registration:
    """Caches both configurations called `name` and writes our paths into them, and the bundle of an `authority`.

    One thread writes; the reflectors' threads and `wake` only make it look again. `on_change` runs on the
    reflectors' threads. Whatever is not said otherwise belongs to the writing thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        name: str,
        service: tuple[str, str],
        authority: CertificateManager | None,
        path_secrets: PathSecretManager,
        gate: Gate,
        choice: PathChoice,
        settle_seconds: float,
        on_change: Callable[[], None],
    ) -> None:
        """`service` is (namespace, name) of ours. Without an `authority` caBundle is left to somebody else."""
        self._cluster = cluster
        self._name = name
        self._service = service
        self._authority = authority
        self._path_secrets = path_secrets
        self._gate = gate
        self._choice = choice
        self._settle_seconds = settle_seconds
        self._on_change = on_change
        self._mirrors = {
            resource: Reflector(cluster, resource, on_change=self._look)
            for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
        }
        self._bare: frozenset[str] | None = None
        self._secured_at = float("-inf")
        self._giving_way = False
        # Written by the writing thread once, when both configurations have been right; `problems` reads it.
        self._was_registered = False
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Begin watching and writing."""
        for mirror in self._mirrors.values():
            mirror.start()
        self._thread.start()

    def stop(self) -> None:
        """End all threads; the configurations stay as they are, other replicas use them."""
        self._stopping.set()
        self._work.set()
        for mirror in self._mirrors.values():
            mirror.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Compare again: bundle or secret may have changed."""
        self._work.set()

    @property
    def alive(self) -> bool:
        """Whether every thread still runs; the owner must treat False as fatal unless it stopped them."""
        return self._thread.is_alive() and all(mirror.alive for mirror in self._mirrors.values())

    def problems(self) -> list[str]:
        """Say which configuration does not lead the API server to us: by no trust, or by a path we do not answer.

        One that is deleted later keeps nobody from being ready: nothing calls us by it, and it is to work at once
        when it comes back.
        """
        return [
            f"registration: {resource.kind} {self._name} {lack}"
            for resource, mirror in self._mirrors.items()
            if (lack := self._lack(mirror))
        ]

    def callers(self) -> frozenset[Caller]:
        """Return every way in which the API server calls us."""
        return frozenset(caller for configuration in self._configurations() for caller in callers(configuration))

    def carries(self, bundle: bytes) -> bool:
        """Return whether every webhook of the configurations that exist is known to carry exactly this bundle."""
        return self._is_as(bundle=bundle, path=None)

    def leads_to(self, secrets: PathSecrets) -> bool:
        """Return whether every webhook of ours is known to be called with a token of the current secret."""
        return self._is_as(bundle=None, path=lambda route, _: path_with_token(secrets.current, route))

    def _is_as(self, *, bundle: bytes | None, path: Callable[[str, str | None], str] | None) -> bool:
        synced = all(mirror.synced for mirror in self._mirrors.values())
        return synced and not any(
            patch_of(configuration, service=self._service, bundle=bundle, path=path)
            for configuration in self._configurations()
        )

    def _configurations(self) -> list[Object]:
        found = (mirror.get("", self._name) for mirror in self._mirrors.values())
        return [configuration for configuration in found if configuration is not None]

    def _look(self, change: Change) -> None:
        if change.key[1] == self._name:
            self._gate.answer_bare(bare_routes(self._configurations()))
            self._work.set()
            self._on_change()

    def _lack(self, mirror: Reflector) -> str:
        if not mirror.synced:
            return "has not been read yet"
        configuration = mirror.get("", self._name)
        if configuration is None:
            return "" if self._was_registered else "does not exist"
        found = callers(configuration)
        if not all(caller.ca_bundle for caller in found):
            return "carries no caBundle"
        lost = sorted({one.route for one in found if one.route and self._gate.route(one.path) != one.route})
        return f"has a path that is not answered here, for {', '.join(lost)}" if lost else ""

    def _run(self) -> None:
        failures = 0
        delay = _LOOK_SECONDS
        while not self._stopping.is_set():
            self._work.wait(delay)
            self._work.clear()
            try:
                delay = self._register()
            except ApiError as error:
                # Being overtaken by another replica is no failure.
                if failures == (2 if error.status in _OVERTAKEN else 0):
                    log.warning("webhooks.not_registered", configuration=self._name, error=masked(str(error)))
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            else:
                failures = 0

    def _register(self) -> float:
        """Bring both configurations in line; return how soon to look again though nothing has changed."""
        secrets = self._path_secrets.secrets()
        known = self._authority.ca_bundle() if self._authority is not None else None
        unread = any(not mirror.synced for mirror in self._mirrors.values())
        if unread or secrets is None or (self._authority is not None and known is None):
            return _UNDECIDED_SECONDS
        self._notice_bare_paths()
        choice = self._choose(secrets, known)
        for resource, mirror in self._mirrors.items():
            configuration = mirror.get("", self._name)
            if configuration is None or self._stopping.is_set():
                continue
            if patch_of(configuration, service=self._service, bundle=known, path=self._path(choice)):
                self._write(resource)
        if not self._was_registered:
            self._was_registered = len(self._configurations()) == len(self._mirrors) and not self.problems()
        return _LOOK_SECONDS if choice == Choice(secrets.current) else _UNDECIDED_SECONDS

    def _write(self, resource: Resource) -> None:
        """Bring a configuration in line with the Secret.

        Neither the cache nor what is known here will do: another replica may be a step ahead. Read in this order,
        and written only to the copy that was read, nothing newer is undone.
        """
        try:
            configuration = self._cluster.get(resource, self._name)
        except NotFound:
            return
        bundle = self._authority.check().ca_bundle if self._authority is not None else None
        choice = self._choose(self._path_secrets.check(), bundle)
        path = self._path(choice)
        operations = patch_of(configuration, service=self._service, bundle=bundle, path=path)
        if operations:
            if choice.secret is None:
                bare = bare_routes([*self._configurations(), configuration])
                written = {caller.route for caller in callers(configuration) if caller.route}
                self._gate.answer_bare(bare | written)
            self._cluster.patch(
                resource, self._name, operations, content_type=JSON_PATCH, field_manager=FIELD_MANAGER
            )
            if choice.secret is not None and bare_routes([configuration]):
                self._secured_at = time.monotonic()
            tokens = "none, for a release without them" if choice.secret is None else "written"
            log.info("webhooks.registered", kind=resource.kind, configuration=self._name, tokens=tokens)

    def _choose(self, secrets: PathSecrets, bundle: bytes | None) -> Choice:
        registered = (
            caller.ca_bundle for configuration in self._configurations() for caller in callers(configuration)
        )
        return self._choice.choose(secrets, bundle if bundle is not None else max(registered, default=b""))

    def _path(self, choice: Choice) -> Callable[[str, str | None], str]:
        def path(route: str, now: str | None) -> str:
            works = now is not None and self._gate.route(now) == route
            if now is not None and works and (not choice.certain or (now == route and self._giving_way)):
                return now
            return choice.path(route)

        return path

    def _notice_bare_paths(self) -> None:
        """Give way for a while to whoever writes the bare path again soon after it was replaced, instead of fighting.

        That comes from manifests of a release without tokens, kept by a GitOps tool or applied to go back to it.
        """
        configurations = self._configurations()
        bare = frozenset(bare_routes(configurations))
        self._gate.answer_bare(bare)
        now = time.monotonic()
        if self._bare is None and bare:
            self._choice.assume_legacy()
        paths = [caller.path for one in configurations for caller in callers(one) if caller.route]
        if self._bare and not bare and all(paths):
            self._secured_at = now
        giving_way = bool(bare) and now - self._secured_at < self._settle_seconds
        if giving_way and not self._giving_way:
            log.warning(
                "path.bare",
                configuration=self._name,
                error="somebody writes the path of a release without tokens; apply manifests that leave path out",
            )
        self._bare, self._giving_way = bare, giving_way
