"""Whether a Secret is there, asked without the right to read any."""

from __future__ import annotations

from allocator.kube.client import ApiError, Cluster
from allocator.kube.resource import SECRETS


def is_absent(cluster: Cluster, name: str, namespace: str) -> bool:
    """Return whether it is certain that there is no Secret of that name.

    Asked by a creation that is not carried out (dryRun), for which the right to create Secrets is enough.
    """
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    try:
        cluster.create(SECRETS, secret, namespace, dry_run=True)
    except ApiError:
        # It is there (AlreadyExists), or somebody's policy or quota keeps us from knowing.
        return False
    return True
