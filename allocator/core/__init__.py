"""The decision core: addresses, pools, requests and the decision itself.

Nothing in this package does I/O, reads a clock or knows a Kubernetes type; a lint contract holds it to that.
"""
