"""The API server as GitOps tools speak to it: any kind, server-side apply, dry runs, and lists of everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from kubernetes.client import ApiClient

from allocator.kube.client import APPLY_PATCH, Cluster, NotFound, Object
from allocator.kube.resource import Resource


class NoSuchKind(Exception):
    """The API server does not serve the kind (yet)."""


class Api(Cluster):
    """A connection that finds out by itself where an object of any kind lives. Belongs to one thread."""

    def __init__(self, api_client: ApiClient, *, timeout_seconds: float = 5.0) -> None:
        super().__init__(api_client, timeout_seconds=timeout_seconds)
        self._known: dict[tuple[str, str, str], Resource] = {}
        """By group, version and kind. What is not in it is looked for again: it may have come since."""

    def resource(self, group: str, version: str, kind: str) -> Resource:
        """Return where the kind is served. Raises NoSuchKind."""
        if (group, version, kind) not in self._known:
            self._known.update({(group, version, one.kind): one for one in self._served(group, version)})
        try:
            return self._known[group, version, kind]
        except KeyError:
            raise NoSuchKind(f'no matches for kind "{kind}" in version "{group}/{version}"') from None

    def live(self, obj: Object) -> Object | None:
        """Return the object as stored; None where there is none. Raises NoSuchKind."""
        try:
            return self.get(self._resource_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace"))
        except NotFound:
            return None

    def apply(self, obj: Object, *, manager: str, dry_run: bool) -> Object:
        """Apply server-side, taking over what others own, and return the result. Raises NoSuchKind, ApiError."""
        query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        return self._call("PATCH", self._path(obj), query=query, body=obj, content_type=APPLY_PATCH)

    def remove(self, obj: Object) -> None:
        """Delete the object, unless it is gone already."""
        with suppress(NotFound):
            self.delete(self._resource_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace"))

    def everything(self, kinds: Iterable[Resource] | None = None) -> Iterator[Object]:
        """Yield every object of these kinds, or of every kind, as a tool sees them that looks for what to prune."""
        for resource in self.kinds() if kinds is None else kinds:
            try:
                items = self.list(resource).get("items") or ()
            except NotFound:  # its definition has gone meanwhile
                continue
            for item in items:
                yield {"apiVersion": resource.api_version, "kind": resource.kind, **item}

    def kinds(self) -> list[Resource]:
        """Return every kind that can be watched, which takes a request for each version of each group."""
        # Every version of a group shows the same objects.
        found: dict[tuple[str, str], Resource] = {}
        for group, version in self._groups():
            for resource in self._served(group, version, verb="watch"):
                found.setdefault((group, resource.plural), resource)
        return list(found.values())

    def _groups(self) -> Iterator[tuple[str, str]]:
        yield "", "v1"
        for group in self.raw("GET", "/apis")["groups"]:
            # All of them: a group may serve some kinds in one version and others in another.
            for version in group["versions"]:
                yield group["name"], version["version"]

    def _served(self, group: str, version: str, *, verb: str = "patch") -> Iterator[Resource]:
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            found = self.raw("GET", base)["resources"]
        except NotFound:
            return
        for item in found:
            if "/" not in item["name"] and verb in item["verbs"]:
                yield Resource(group, version, item["name"], item["kind"], namespaced=item["namespaced"])

    def _resource_of(self, obj: Object) -> Resource:
        group, _, version = obj["apiVersion"].rpartition("/")
        return self.resource(group, version, obj["kind"])

    def _path(self, obj: Object) -> str:
        resource, metadata = self._resource_of(obj), obj["metadata"]
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        within = f"/namespaces/{metadata['namespace']}" if resource.namespaced else ""
        return f"{base}{within}/{resource.plural}/{metadata['name']}"
