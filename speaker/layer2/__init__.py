"""Carrying a decision out by ARP and NDP."""

PROTOCOL = "layer2"
"""Its name in Events, metrics and logs: MetalLB's."""
