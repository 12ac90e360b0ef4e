"""Sends AdmissionReviews to a webhook that no API server asked for."""

from __future__ import annotations

import http.client
import random
import ssl
from typing import Any

from allocator.kube.client import ApiError
from tests.cluster.installation import Installation

_AWAY = (OSError, http.client.HTTPException, ssl.SSLError, ApiError, AssertionError)


class Forger:
    """Knows what an API server knows: the webhooks' path and authority. Safe to call from several threads."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def ask(self, service: dict[str, Any]) -> str:
        """Ask one of the webhooks to admit the creation of `service`; say what came of it."""
        replica = random.choice(self._installation.webhooks)
        try:
            answer = self._installation.ask(replica, service, uid=str(random.getrandbits(64)))
        except _AWAY:
            return "forged a review, no webhook answered"
        return f"forged a review, {'allowed' if answer['allowed'] else 'denied'}"
