"""Which cluster a person's command asks: the one that kubectl would ask."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from allocator.kube.client import Cluster

_DEFAULT: Final = "~/.kube/config"


@dataclass(frozen=True, slots=True)
class Access:
    """By a kubeconfig and a context of it; empty where the person names none.

    A component asks as a pod does wherever it can. kubectl, and so a person's command, does that last: what runs in a
    pod of one cluster, as a pipeline does, may be meant for another.
    """

    kubeconfig: str = ""
    context: str = ""

    def cluster(self, *, timeout_seconds: float = 5.0) -> Cluster:
        """Connect. Raises ConfigException where there is no way to, or none of that name."""
        # Imported here: the cluster's client takes longer to import than `lint` takes to run.
        from allocator.kube.client import Cluster  # noqa: PLC0415
        from allocator.kube.package import ConfigException  # noqa: PLC0415

        if self._is_there:
            return Cluster.by_kubeconfig(
                self._kubeconfig, context=self.context or None, timeout_seconds=timeout_seconds
            )
        try:
            if not self.context:
                return Cluster.as_pod(timeout_seconds=timeout_seconds)
        except ConfigException:
            pass
        named = os.environ.get("KUBECONFIG")
        why = f"KUBECONFIG names {named}, which is not there" if named else f"there is no {_DEFAULT}"
        raise ConfigException(f"{why}; name one with --kubeconfig")

    def namespace(self) -> str:
        """Return the namespace that kubectl would use: the context's, else `default`. Raises ConfigException."""
        from allocator.kube.package import context_namespace  # noqa: PLC0415

        if not self._is_there:
            return "default"
        return context_namespace(self._kubeconfig, context=self.context or None) or "default"

    @property
    def _kubeconfig(self) -> str:
        """One path, or several with colons between them."""
        return self.kubeconfig or os.environ.get("KUBECONFIG") or _DEFAULT

    @property
    def _is_there(self) -> bool:
        paths = [self.kubeconfig] if self.kubeconfig else self._kubeconfig.split(os.pathsep)
        # Path.expanduser raises for a user without a home, as in an image without /etc/passwd.
        return any(Path(os.path.expanduser(path)).exists() for path in paths if path)  # noqa: PTH111
