"""Carrying a decision out by ARP and NDP."""
