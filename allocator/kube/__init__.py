"""The Kubernetes API: client, caches, Leases, Events, queues. Nothing here knows what an address is."""
