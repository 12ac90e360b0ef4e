"""Probes of a container: ask once, say what is wrong."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

from allocator.kube.client import Object
from tests.lab.container_spec import Unsupported, port_number

_UNVERIFIED = ssl._create_unverified_context()  # a kubelet does not verify the certificates of what it probes


@dataclass(frozen=True, slots=True)
class Probe:
    """A readiness, liveness or startup probe with the defaults of the Kubernetes API filled in."""

    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int
    port: int
    path: str | None
    tls: bool

    @classmethod
    def parse(cls, container: Object, key: str) -> Probe | None:
        """Return the container's probe of that key (`readinessProbe`), or None. Raises Unsupported."""
        spec = container.get(key)
        if spec is None:
            return None
        http_get, tcp = spec.get("httpGet"), spec.get("tcpSocket")
        if not http_get and not tcp:
            raise Unsupported(f"{key} of container {container['name']} other than httpGet and tcpSocket")
        return cls(
            initial_delay_seconds=float(spec.get("initialDelaySeconds") or 0),
            period_seconds=float(spec.get("periodSeconds") or 10),
            timeout_seconds=float(spec.get("timeoutSeconds") or 1),
            failure_threshold=int(spec.get("failureThreshold") or 3),
            port=port_number(container, (http_get or tcp)["port"]),
            path=(http_get.get("path") or "/") if http_get else None,
            tls=bool(http_get) and http_get.get("scheme") == "HTTPS",
        )

    def ask(self, address: str) -> str | None:
        """Probe once from the calling thread's network namespace; return what is wrong, or None."""
        try:
            if self.path is None:
                socket.create_connection((address, self.port), self.timeout_seconds).close()
                return None
            return self._ask_http(address, self.path)
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    def _ask_http(self, address: str, path: str) -> str | None:
        connection: http.client.HTTPConnection
        if self.tls:
            connection = http.client.HTTPSConnection(
                address, self.port, timeout=self.timeout_seconds, context=_UNVERIFIED
            )
        else:
            connection = http.client.HTTPConnection(address, self.port, timeout=self.timeout_seconds)
        try:
            connection.request("GET", path, headers={"Connection": "close", "User-Agent": "kube-probe/lab"})
            status = connection.getresponse().status
        finally:
            connection.close()
        return None if 200 <= status < 400 else f"HTTP {status}"
