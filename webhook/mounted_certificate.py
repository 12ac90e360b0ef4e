"""A serving certificate that somebody else looks after, cert-manager for one, read from a mounted Secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from allocator.process.background import Background
from allocator.process.logs import EventLog
from webhook import pem
from webhook.certificate_authority import KeyPair
from webhook.certificates import CERTIFICATE_FIELD, KEY_FIELD

log = EventLog("certificate")

_CHECK_SECONDS = 2.0


class MountedCertificate(Background):
    """Reads `tls.crt` and `tls.key` of a folder again and again, and serves with what they last held that was sound.

    A kubelet changes mounted files in place, without a sign to those who have read them; nobody has to restart.
    """

    def __init__(
        self, folder: Path, *, on_change: Callable[[KeyPair], None], check_seconds: float = _CHECK_SECONDS
    ) -> None:
        """`on_change` gets each new certificate, on the reading thread, and may refuse it (OSError)."""
        super().__init__("mounted-certificate")
        self._folder = folder
        self._on_change = on_change
        self._check_seconds = check_seconds
        # Written by the reading thread alone; readers get the whole immutable value or None.
        self._serving: KeyPair | None = None
        self._problem = "not read yet"

    def serving(self) -> KeyPair | None:
        """Return what to serve with, None until there was something sound to read."""
        return self._serving

    def problems(self) -> list[str]:
        """Say why there is nothing to serve with; one that only delays a renewal is not among them."""
        return [] if self._serving is not None else [f"certificate: {self._folder}: {self._problem}"]

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._check()
            self._stopping.wait(self._check_seconds)

    def _check(self) -> None:
        try:
            serving = self._read()
            if serving != self._serving:
                self._on_change(serving)
                self._serving = serving
                certificate = pem.certificates(serving.certificate)[0]
                ends = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
                log.info("certificate.loaded", folder=self._folder, serial=pem.short_serial(certificate), ends=ends)
        except (OSError, pem.Flawed) as error:  # OpenSSL's refusal of a certificate is an OSError
            if str(error) != self._problem:
                log.warning("certificate.not_read", folder=self._folder, error=error)
            self._problem = str(error)
        else:
            self._problem = ""

    def _read(self) -> KeyPair:
        """Read a pair that belongs together: between two reads the files may change. Raises OSError, Flawed."""
        pair = KeyPair(
            certificate=(self._folder / CERTIFICATE_FIELD).read_bytes(), key=(self._folder / KEY_FIELD).read_bytes()
        )
        pem.leaf(pair.certificate, key=pair.key, certificate_field=CERTIFICATE_FIELD, key_field=KEY_FIELD)
        return pair
