"""Metrics under the names dashboards for MetalLB ask for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from speaker.metrics import SpeakerMetrics


def test_layer_2_counters_have_metallbs_names_and_label() -> None:
    registry = CollectorRegistry()
    metrics = SpeakerMetrics(registry)
    metrics.requests_received.add("192.0.2.1")
    metrics.requests_received.add("192.0.2.1")
    metrics.responses_sent.add("192.0.2.1")
    metrics.gratuitous_sent.add("192.0.2.2", 2)
    metrics.announced.labels("default/web", "layer2", "node-1", "192.0.2.1").set(1)
    lines = generate_latest(registry).decode().splitlines()
    assert 'metallb_layer2_requests_received{ip="192.0.2.1"} 2.0' in lines
    assert 'metallb_layer2_responses_sent{ip="192.0.2.1"} 1.0' in lines
    assert 'metallb_layer2_gratuitous_sent{ip="192.0.2.2"} 2.0' in lines
    series = 'metallb_speaker_announced{ip="192.0.2.1",node="node-1",protocol="layer2",service="default/web"} 1.0'
    assert series in lines
