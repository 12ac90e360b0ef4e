"""The supervisor of a node's FRR: the main process of the DaemonSet `frr`.

Of the project it imports `speaker.bgp.vty` and `speaker.bgp.pod_release` alone, and of packages none: its image has
FRR, Python's standard library and these files.
"""
