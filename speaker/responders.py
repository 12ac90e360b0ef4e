"""What answers on an interface: one responder per family."""

from __future__ import annotations

from speaker.announcer import OpenResponders
from speaker.arp_responder import ArpResponder
from speaker.interfaces import Interface
from speaker.metrics import SpeakerMetrics
from speaker.ndp_responder import NdpResponder
from speaker.responder import Responder


def responders(metrics: SpeakerMetrics) -> OpenResponders:
    """Return what opens an interface's responders: all of them, or none where one raises OSError."""

    def open_all(interface: Interface) -> list[Responder]:
        opened: list[Responder] = []
        try:
            for kind in (ArpResponder, NdpResponder):
                opened.append(kind(interface, metrics))
        except OSError:
            for responder in opened:
                responder.close()
            raise
        return opened

    return open_all
