"""The server side of TLS: the context to serve with, replaced while serving when the certificate changes."""

from __future__ import annotations

import errno
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from webhook.certificate_authority import KeyPair

_CLIENT_SECONDS = 10.0
"""How long a client may take for the next bytes of a request, or for taking an answer."""


class ServingContext:
    """Holds the SSLContext made from the certificate last given; new handshakes use it, old sessions go on."""

    def __init__(self) -> None:
        # Written by the thread that looks after the certificate, read by every serving thread; only replaced whole.
        self._context: ssl.SSLContext | None = None

    def use(self, serving: KeyPair) -> None:
        """Serve with this certificate from the next handshake on."""
        self._context = server_context(serving)

    def current(self) -> ssl.SSLContext:
        """Return the context for the next handshake. Raises ConnectionResetError while there is none yet."""
        if self._context is None:
            raise ConnectionResetError(errno.ECONNRESET, "no certificate yet")
        return self._context


def server_context(serving: KeyPair) -> ssl.SSLContext:
    """Return a TLS 1.2+ server context; the private key is on disk only while OpenSSL reads it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TimedSocket
    with tempfile.TemporaryDirectory(prefix="admitlb-tls-") as directory:  # mode 0700
        pem = Path(directory, "serving.pem")
        pem.touch(mode=0o600)
        pem.write_bytes(_rewritten(serving.key) + serving.certificate)
        context.load_cert_chain(pem)
    return context


def _rewritten(key: bytes) -> bytes:
    """The same key in the one form OpenSSL writes: what was read so far may be more than OpenSSL reads."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return serialization.load_pem_private_key(key, password=None).private_bytes(*form)


def client_context(ca_bundle: bytes) -> ssl.SSLContext:
    """Return the context of a client that trusts this bundle only, as the API server does.

    Raises ssl.SSLError or ValueError for a bundle without a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_bundle.decode("ascii"))
    return context


class TimedSocket(ssl.SSLSocket):
    """A socket whose "blocking" has an end.

    The server makes its sockets blocking without a timeout, so a client that stops in the middle of a request would
    hold one of the few threads without end. Running out of time looks like a reset connection, which the server takes
    for what it is: a client that went away.
    """

    deadline: float | None = None
    """When the request under way has to be here, monotonic: a byte now and then does not put it off."""
    received_at: float | None = None
    """When the request under way was here and began to wait for a thread, monotonic."""

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def settimeout(self, value: float | None) -> None:
        super().settimeout(_CLIENT_SECONDS if value is None else value)

    def recv(self, *args: Any) -> bytes:
        try:
            if self.deadline is not None and self.getblocking():
                super().settimeout(_left(self.deadline))
            return super().recv(*args)
        except TimeoutError as error:
            raise _gone() from error

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything within one timeout, however slowly it is taken."""
        until = time.monotonic() + _CLIENT_SECONDS
        try:
            with memoryview(data) as view:
                sent = 0
                while sent < len(view):
                    super().settimeout(_left(until))
                    sent += self.send(view[sent:], flags)
        except TimeoutError as error:
            raise _gone() from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline of the whole has passed")
    return min(left, _CLIENT_SECONDS)


def _gone() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "too slow")
