"""Asks our own port over TLS, as the API server will, before we call ourselves ready."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable

from allocator.logs import EventLog
from webhook.certificates import Credentials
from webhook.tls import client_context

log = EventLog("self_check")

_TIMEOUT_SECONDS = 2.0
_RETRY_SECONDS = 0.25


class SelfCheck:
    """Holds the latest proof that `port` answers HTTPS with a certificate our authority vouches for.

    Asked again whenever the credentials change (`wake`), else never: an idle webhook does not talk to itself.
    """

    def __init__(self, *, port: int, server_name: str, credentials: Callable[[], Credentials | None]) -> None:
        self._port = port
        self._server_name = server_name
        self._credentials = credentials
        # Written by the check's thread alone.
        self._proven: Credentials | None = None
        self._failure = "not asked yet"
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-check", daemon=True)

    def start(self) -> None:
        """Begin asking."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Ask again if the credentials changed."""
        self._work.set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; its owner must treat False as fatal unless it stopped it."""
        return self._thread.is_alive()

    def problems(self) -> list[str]:
        """Tell why no API server could reach us, as far as can be seen from here."""
        if self._proven is not None and self._proven == self._credentials():
            return []
        return [f"self-check: https://{self._server_name} on port {self._port}: {self._failure}"]

    def _run(self) -> None:
        while not self._stopping.is_set():
            credentials = self._credentials()
            if credentials is None or credentials == self._proven:
                self._work.wait()
                self._work.clear()
            elif failure := self._ask(credentials):
                if failure != self._failure:
                    log.debug("self_check.failed", port=self._port, error=failure)
                self._failure = failure
                self._stopping.wait(_RETRY_SECONDS)
            else:
                self._proven = credentials

    def _ask(self, credentials: Credentials) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.connect()
            connection.sock = client_context(credentials).wrap_socket(
                connection.sock, server_hostname=self._server_name
            )
            connection.request("GET", "/healthz", headers={"Host": self._server_name, "Connection": "close"})
            status = connection.getresponse().status
        except (OSError, ssl.SSLError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return "" if status == http.HTTPStatus.OK else f"/healthz answers {status}"
