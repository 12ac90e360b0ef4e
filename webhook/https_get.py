"""One GET as the API server connects: over TLS, by the Service's name, trusting one caBundle and nothing else."""

from __future__ import annotations

import http.client

from webhook.tls import client_context

CANNOT_ASK = (OSError, ValueError, http.client.HTTPException)
"""What `status_of` raises where there is no answer, or none to be trusted."""


def status_of(path: str, *, address: str, port: int, server_name: str, ca_bundle: bytes, timeout: float) -> int:
    """Return the HTTP status of a GET. Raises one of CANNOT_ASK; each step may take `timeout` seconds."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        context = client_context(ca_bundle)
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=server_name)
        connection.request("GET", path, headers={"Host": server_name, "Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()
