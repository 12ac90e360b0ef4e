"""The API server as plain JSON: verbs on resources, dicts in, dicts out, typed errors.

Configuration, credentials (token rotation included), TLS and connection pooling come from the `kubernetes`
package. Its model classes are left out: turning 500 Services into models costs 129 ms where plain JSON costs 1.2 ms.
So is its way from a body to the connection, which looks for models in every value: a quarter of a request's processor
time (0.57 ms with it and 0.43 without, for a ServiceL2Status over TLS).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote, urlencode

from urllib3.exceptions import HTTPError, ReadTimeoutError

from allocator.kube.package import (
    ApiClient,
    ConfigException,
    Configuration,
    load_incluster_config,
    load_kube_config,
)
from allocator.kube.resource import Resource
from allocator.kube.transport import SOCKET_OPTIONS, bind_deadlines, deadline
from allocator.kube.watch_stream import Interrupt, events

Object = dict[str, Any]
"""A Kubernetes object exactly as the API server writes it."""

Body = dict[str, Any] | list[dict[str, Any]]
"""What a request may carry: an object, or the operations of a JSON patch."""

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
"""Merges lists by key where the kind says so; of the API server's own kinds only."""
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_PAGE_SECONDS = 15.0

_SILENCE_SECONDS = 90.0
"""An API server sends a bookmark about once a minute; where nothing ever happened it may not, and is asked again."""


class ApiError(Exception):
    """The API server refused a request: `status` is its HTTP code, `reason` its machine-readable reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def answered(self) -> bool:
        """Whether there was an answer to this request, so that others may be granted.

        Where there was none, the API server is down, unreachable or too slow.
        """
        return self.status != 0


class NotFound(ApiError):
    """The object (or the resource itself) does not exist."""


class AlreadyExists(ApiError):
    """Another writer created an object of this name first."""


class Conflict(ApiError):
    """The object changed since it was read, or a precondition did not hold."""


class Expired(ApiError):
    """The watch's resourceVersion is too old (410): list again."""


class Unavailable(ApiError):
    """No answer, or one that may be another the next time: 429, 502, 503, 504."""


class Silent(Unavailable):
    """A watch was begun and brought nothing for longer than a watch is silent."""


class Cluster:
    """One API server, addressed by resource; safe to use from several threads (the pool underneath is).

    A call takes `timeout_seconds` at most, from connecting to the last byte of the answer, however that arrives.
    """

    def __init__(self, api_client: ApiClient, *, timeout_seconds: float = 5.0) -> None:
        bind_deadlines(api_client.rest_client.pool_manager)
        self._api = api_client
        self._timeout_seconds = timeout_seconds
        self._until: float | None = None

    def until(self, moment: float) -> Self:
        """Return the same connections for calls that share one deadline, on the clock of `time.monotonic`."""
        bounded = type(self)(self._api, timeout_seconds=self._timeout_seconds)
        bounded._until = moment
        return bounded

    def within(self, timeout_seconds: float) -> Self:
        """Return the same connections for calls that may take so long."""
        return type(self)(self._api, timeout_seconds=timeout_seconds)

    @classmethod
    def from_environment(
        cls, kubeconfig: str | None = None, *, timeout_seconds: float = 5.0, connections: int = 32
    ) -> Self:
        """Connect as a pod does, or by kubeconfig when one is named or no pod token is mounted.

        Raises ConfigException when neither is there.
        """
        if kubeconfig is not None:
            return cls.by_kubeconfig(kubeconfig, timeout_seconds=timeout_seconds, connections=connections)
        try:
            return cls.as_pod(timeout_seconds=timeout_seconds, connections=connections)
        except ConfigException:
            return cls.by_kubeconfig(None, timeout_seconds=timeout_seconds, connections=connections)

    @classmethod
    def as_pod(cls, *, timeout_seconds: float = 5.0, connections: int = 32) -> Self:
        """Connect with the token that a pod has. Raises ConfigException where none is mounted."""
        configuration = Configuration()
        load_incluster_config(client_configuration=configuration)
        return cls._configured(configuration, timeout_seconds, connections)

    @classmethod
    def by_kubeconfig(
        cls,
        kubeconfig: str | None,
        *,
        context: str | None = None,
        timeout_seconds: float = 5.0,
        connections: int = 32,
    ) -> Self:
        """Connect by a kubeconfig, the usual one where none is named, in this context or its current one.

        Raises ConfigException.
        """
        configuration = Configuration()
        load_kube_config(kubeconfig, context=context, client_configuration=configuration)
        return cls._configured(configuration, timeout_seconds, connections)

    @classmethod
    def _configured(cls, configuration: Configuration, timeout_seconds: float, connections: int) -> Self:
        configuration.connection_pool_maxsize = connections
        configuration.retries = False
        configuration.socket_options = SOCKET_OPTIONS
        return cls(ApiClient(configuration), timeout_seconds=timeout_seconds)

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Return the object as the API server holds it now (a quorum read). Raises NotFound."""
        return self._call("GET", resource.path(namespace, name))

    def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str | None = None) -> Object:
        """Return the List object: `items`, and in `metadata.resourceVersion` where a watch may start."""
        query = {"labelSelector": label_selector} if label_selector else {}
        return self._call("GET", resource.path(namespace), query=query)

    def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        size: int = 500,
        metadata_only: bool = False,
        label_selector: str | None = None,
    ) -> Iterator[Object]:
        """Yield what `list` returns as several List objects of at most `size` items, all of one moment.

        No more than one page is held at a time. Nobody waits for a list as they do for an answer, and begun anew it
        would burden the API server again: a page may take longer than other requests. Raises Expired when the moment
        is gone before the last page. With `metadata_only` the items have nothing but their metadata.
        """
        selected = {"labelSelector": label_selector} if label_selector else {}
        query = {"limit": str(size), **selected}
        accept = _METADATA_LIST if metadata_only else _JSON
        while True:
            path = resource.path(namespace)
            page = self._call("GET", path, query=query, timeout_seconds=_PAGE_SECONDS, accept=accept)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {"limit": str(size), "continue": token, **selected}

    def create(
        self, resource: Resource, obj: Object, namespace: str | None = None, *, dry_run: bool = False
    ) -> Object:
        """Create `obj` and return it as stored. Raises AlreadyExists when the name is taken."""
        query = {"dryRun": "All"} if dry_run else {}
        return self._call("POST", resource.path(namespace), query=query, body=obj)

    def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        """Post to a subresource (`token` of a ServiceAccount, `binding` or `eviction` of a Pod). Raises NotFound."""
        return self._call("POST", resource.path(namespace, name, subresource), body=body)

    def replace(self, resource: Resource, obj: Object) -> Object:
        """Write the whole object; its metadata.resourceVersion makes this a compare-and-swap (Conflict)."""
        metadata = obj["metadata"]
        return self._call("PUT", resource.path(metadata.get("namespace"), metadata["name"]), body=obj)

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Body,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        content_type: str = MERGE_PATCH,
        field_manager: str | None = None,
        force: bool = False,
    ) -> Object:
        """Patch and return the object. `force` only counts with APPLY_PATCH (take over conflicting fields)."""
        query: dict[str, str] = {}
        if field_manager:
            query["fieldManager"] = field_manager
        if force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        return self._call("PATCH", path, query=query, body=body, content_type=content_type)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Delete the object, given preconditions only if they still hold (else Conflict). Raises NotFound."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        held = {key: value for key, value in preconditions.items() if value is not None}
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if held:
            body["preconditions"] = held
        self._call("DELETE", resource.path(namespace, name), body=body)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        timeout_seconds: int = 300,
        metadata_only: bool = False,
        label_selector: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> Iterator[tuple[str, Object]]:
        """Begin to watch; yield (ADDED|MODIFIED|DELETED|BOOKMARK, object) until the server ends it at its timeout.

        With `metadata_only` objects have nothing but their metadata. `interrupt.request()`, called from another
        thread, ends it early. Raises Expired, Silent or Unavailable.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        with deadline(self._timeout_seconds) as beginning:
            accept = _METADATA if metadata_only else _JSON
            response = self._send("GET", resource.path(namespace), query=query, accept=accept)
        beginning.stream(_SILENCE_SECONDS)
        return self._events(resource, response, interrupt or Interrupt())

    def _events(self, resource: Resource, response: Any, interrupt: Interrupt) -> Iterator[tuple[str, Object]]:
        try:
            with interrupt.covering(response):
                for kind, obj in events(response):
                    if kind == "ERROR":
                        raise _api_error(int(obj.get("code") or 0), json.dumps(obj), None)
                    yield kind, obj
        except ReadTimeoutError as error:
            raise Silent(0, "Silent", f"watching {resource.plural}: nothing for {_SILENCE_SECONDS:g} s") from error
        except (HTTPError, OSError, ValueError) as error:
            if not interrupt.requested:
                raise Unavailable(0, "Unavailable", f"watching {resource.plural}: {error}") from error

    def raw(self, method: str, path: str, *, query: dict[str, str] | None = None) -> Object:
        """Ask any path of the API server (`/version`, a discovery document)."""
        return self._call(method, path, query=query)

    def serves(self, resource: Resource) -> bool:
        """Return, by discovery, whether this API server serves `resource`."""
        base = f"/apis/{resource.group}" if resource.group else "/api"
        try:
            document = self.raw("GET", f"{base}/{resource.version}")
        except NotFound:
            return False
        return any(item["name"] == resource.plural for item in document["resources"])

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        timeout_seconds: float | None = None,
        accept: str = _JSON,
    ) -> Object:
        with deadline(self._seconds(timeout_seconds or self._timeout_seconds)):
            response = self._send(method, path, query=query, body=body, content_type=content_type, accept=accept)
        try:
            result: Object = json.loads(response.data)
        except (HTTPError, OSError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: {error}") from error
        except ValueError as error:
            raise Unavailable(response.status, "BadAnswer", f"{method} {path}: not JSON") from error
        return result

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        accept: str = _JSON,
    ) -> Any:
        headers = {**self._api.default_headers, "Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        self._api.update_params_for_auth(headers, None, ["BearerToken"], path, method, body)
        url = f"{self._api.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query, quote_via=quote)}"
        sent = None if body is None else json.dumps(body).encode()
        pools = self._api.rest_client.pool_manager
        try:
            response = pools.urlopen(method, url, body=sent, headers=headers, preload_content=False)
            refusal = response.data if response.status >= 400 else None
        except (HTTPError, OSError) as error:
            raise Unavailable(0, "Unavailable", f"{method} {path}: {error}") from error
        if refusal is not None:
            raise _api_error(response.status, refusal, response.reason)
        return response

    def _seconds(self, timeout_seconds: float) -> float:
        """How long a call may take. Raises Unavailable when the deadline it shares with others has passed."""
        if self._until is None:
            return timeout_seconds
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unavailable(0, "Timeout", "the deadline of this request and those before it has passed")
        return min(timeout_seconds, left)


def _api_error(status: int, body: bytes | str | None, reason: str | None) -> ApiError:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        document = {}
    machine_reason = str(document.get("reason") or reason or "Unknown")
    message = str(document.get("message") or reason or "no message")
    if status == 404:
        return NotFound(status, machine_reason, message)
    if status == 409:
        kind = AlreadyExists if machine_reason == "AlreadyExists" else Conflict
        return kind(status, machine_reason, message)
    if status == 410:
        return Expired(status, machine_reason, message)
    if status in (0, 429, 502, 503, 504):
        return Unavailable(status, machine_reason, message)
    return ApiError(status, machine_reason, message)
