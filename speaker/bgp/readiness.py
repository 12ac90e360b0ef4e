"""Whether this node may change what FRR announces yet, and whether it is to announce at all."""

from __future__ import annotations

import time
from collections.abc import Iterable

from allocator.bgp.inputs import LocalNode
from allocator.objects.node import Node
from allocator.process.logs import EventLog
from speaker.bgp.kube_proxy import LOOK_SECONDS, KubeProxyGate
from speaker.bgp.leaving import Leaving
from speaker.bgp.reports import Leave

log = EventLog("bgp")

_SECRETS = "Secret"


class Readiness:
    """Belongs to one thread, which `advance` holds up for a second where kube-proxy does not answer."""

    def __init__(self, leaving: Leaving, *, lists: Iterable[str], kube_proxy_url: str) -> None:
        """`lists` are the kinds of which all objects have to be known."""
        self._leaving = leaving
        self._unlisted = set(lists)
        self._unread: frozenset[str] = frozenset()
        self._connected = False
        self._kube_proxy_url = kube_proxy_url
        self._gate = KubeProxyGate(kube_proxy_url)
        self._returning: KubeProxyGate | None = None
        self.begun = False
        """Whether FRR may be changed: once so, always so."""

    @property
    def leave(self) -> Leave:
        """How far the node is in leaving."""
        return self._leaving.stage

    @property
    def due(self) -> float | None:
        """When to call `advance` again at the latest; None for when something has changed."""
        asks = self._returning is not None or not (self.begun or self._missing)
        due = [time.monotonic() + LOOK_SECONDS] if asks else []
        if self._leaving.deadline is not None:
            due.append(self._leaving.deadline)
        return min(due, default=None)

    @property
    def known(self) -> bool:
        """Whether all that decides about Services has been read from the API server."""
        return self.begun or not self._missing

    @property
    def waiting_for(self) -> str:
        """Why FRR is not changed yet; empty once it may be."""
        if self.begun:
            return ""
        if self._missing:
            return f"the API server's lists of {', '.join(self._missing)}"
        return self._gate.said if self._connected else "bgpd, whose configuration has not been read yet"

    @property
    def leave_reason(self) -> str:
        """Why the node leaves, or is not back yet."""
        return self._leaving.reason or (self._returning.said if self._returning is not None else "")

    def set_node(self, node: Node | None) -> None:
        """Take in the Node; None when it is gone."""
        self._leaving.set_node(node)

    def set_listed(self, kind: str) -> None:
        """All objects of a kind are known."""
        self._unlisted.discard(kind)

    def set_connected(self) -> None:
        """What bgpd runs is known: before that it cannot be changed, nor be left as it is."""
        self._connected = True

    def set_unread(self, secrets: frozenset[str]) -> None:
        """These Secrets are needed, and have not been asked for yet."""
        self._unread = secrets

    def advance(self, *, serving: bool) -> LocalNode:
        """See how far things are, and return the node as it is to be announced from.

        `serving` says that FRR announces what was found there: such a node has never stopped to serve, and where it
        is to leave it is marked first, as if the speaker had been there all the time.
        """
        announcing = self.begun or serving
        if not self.begun and not self._missing and (serving or self._gate.open) and self._connected:
            self.begun = True
            log.info("bgp.begun", serving_already=serving)
        if not self.begun:
            return self._leaving.node
        before = self._leaving.stage
        node = self._leaving.advance(time.monotonic(), announcing=announcing, may_return=self._may_return)
        if self._leaving.stage is not before:
            log.info("bgp.leave", stage=self._leaving.stage, reason=self._leaving.reason)
        if self._leaving.reason or self._leaving.stage is Leave.NO:
            self._returning = None
        return node

    @property
    def _missing(self) -> list[str]:
        return sorted(self._unlisted) or ([_SECRETS] if self._unread else [])

    def _may_return(self) -> bool:
        """Whether a node that has left can serve again: what its kube-proxy said before is of long ago."""
        if self._returning is None:
            self._returning = KubeProxyGate(self._kube_proxy_url)
        return self._returning.open
