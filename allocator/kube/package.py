"""What is used of the `kubernetes` package, without the rest of it.

`import kubernetes` brings OAuth, a second HTTP client and an informer along: 7 of the 64 MB that a speaker may have.
So all of AdmitLB imports it from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from allocator.process.late_package import initialise_late

initialise_late("kubernetes")
initialise_late("kubernetes.config")

from kubernetes.client import ApiClient, Configuration  # noqa: E402
from kubernetes.config.config_exception import ConfigException  # noqa: E402
from kubernetes.config.incluster_config import load_incluster_config  # noqa: E402

__all__ = [
    "ApiClient",
    "ConfigException",
    "Configuration",
    "context_namespace",
    "load_incluster_config",
    "load_kube_config",
]


def load_kube_config(
    kubeconfig: str | None, *, context: str | None = None, client_configuration: Configuration
) -> None:
    """Configure by a kubeconfig, the usual one where none is named, in a context of it. Raises ConfigException."""
    # Only people's programs need it; it is what OAuth comes with.
    from kubernetes.config import kube_config  # noqa: PLC0415

    with _read(kubeconfig):
        kube_config.load_kube_config(kubeconfig, context=context, client_configuration=client_configuration)


def context_namespace(kubeconfig: str | None, *, context: str | None = None) -> str:
    """Return the namespace of a context, the current one where none is named, or nothing. Raises ConfigException."""
    from kubernetes.config import kube_config  # noqa: PLC0415

    with _read(kubeconfig):
        contexts, current = kube_config.list_kube_config_contexts(kubeconfig)
        chosen = next((each for each in contexts if each["name"] == context), current)
        return str((chosen.get("context") or {}).get("namespace") or "")


@contextmanager
def _read(kubeconfig: str | None) -> Iterator[None]:
    """Raise ConfigException also for what the package does not check: text, YAML, and the types of values."""
    from yaml import YAMLError  # noqa: PLC0415  components that run in a pod do without

    try:
        yield
    except ConfigException:
        raise
    except (OSError, ValueError, TypeError, AttributeError, LookupError, YAMLError) as error:
        name = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigException(f"{name} is no kubeconfig: {' '.join(str(error).split())}") from error
