"""Warnings about the node itself: in the log, and as Events on its Node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from allocator.core.addresses import Address
from allocator.process.logs import EventLog
from speaker.layer2.refusals import refusal_text

log = EventLog("speaker")


class Recorder(Protocol):
    """What posts Events."""

    def record_node(self, name: str, *, reason: str, message: str) -> None:
        """Warn of something about a Node; returns at once."""
        ...


class NodeWarnings:
    """May be called by any thread, also before Events are posted: they wait."""

    def __init__(self, node: str, events: Recorder) -> None:
        self._node = node
        self._events = events

    def monitor_port_held(self, port: int, error: OSError) -> None:
        """Another program has the monitoring port."""
        effect = "this node announces as before; its metrics and its readiness are not seen"
        self._port_held(f"TCP {port}", "--monitor-port", error, effect)

    def bgp_metrics_port_held(self, port: int, error: OSError) -> None:
        """Another program has the port of BGP's metrics: MetalLB's own exporter, where both are there."""
        effect = "this node announces as before; its metrics of BGP are not seen"
        self._port_held(f"TCP {port}", "--bgp-metrics-port", error, effect)

    def heartbeat_port_held(self, port: int, error: OSError) -> None:
        """Another program has the heartbeats' port."""
        effect = "this node hears no other and goes by Leases: where it fails, others take over after seconds"
        self._port_held(f"UDP {port}", "--heartbeat-port", error, effect)

    def addresses_refused(self, refused: Mapping[Address, str]) -> None:
        """The kernel refuses what answering for these addresses needs, if there are any."""
        if refused:
            self._events.record_node(self._node, reason="AddressRefused", message=refusal_text(refused))

    def _port_held(self, port: str, option: str, error: OSError, effect: str) -> None:
        log.error("port.held", port=port, option=option, error=error, reason=effect)
        message = f"{port} ({option}) cannot be opened: {error}; {effect}; free the port, or set another by {option}"
        self._events.record_node(self._node, reason="PortHeld", message=message)
