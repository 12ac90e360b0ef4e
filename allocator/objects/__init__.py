"""Kubernetes documents as values of the core, and back: one file a kind, no I/O."""
