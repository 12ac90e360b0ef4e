"""The DaemonSet `frr` as its manifest has it: its image, its supervisor and real daemons on a node."""
