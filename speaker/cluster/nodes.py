"""Nodes as values: what the speaker needs to know of one."""

from allocator.objects.node import Node, node_from

__all__ = ["Node", "node_from"]
