"""kubectl, as the program that renders overlays and applies what was rendered."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_RENDER_SECONDS = 60
_CLUSTER_SECONDS = 600


class KubectlFailed(Exception):
    """kubectl is not there, or did not do what was asked; the message says which, and what helps."""


class Kubectl:
    """Runs the kubectl of PATH; `options` go to every call that speaks to a cluster."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        program = shutil.which("kubectl")
        if program is None:
            raise KubectlFailed(
                "kubectl is not on PATH, and it is what renders and applies the manifests: install kubectl 1.21 or "
                "newer (https://kubernetes.io/docs/tasks/tools/)"
            )
        self._program = program
        self._options = tuple(options)

    def render(self, folder: Path) -> str:
        """Return an overlay as YAML. Raises KubectlFailed."""
        try:
            return self._run(["kustomize", str(folder)], "", _RENDER_SECONDS, capture=True)
        except KubectlFailed as error:
            raise KubectlFailed(f"{error}; it must be kubectl 1.21 or newer") from error

    def apply(self, manifests: str) -> None:
        """Create or change what the manifests say; kubectl prints what it does. Raises KubectlFailed."""
        self._run(["apply", "-f", "-", *self._options], manifests, _CLUSTER_SECONDS)

    def try_apply(self, manifests: str) -> None:
        """Have the API server judge the same, and store nothing. Raises KubectlFailed, with its words."""
        words = ["apply", "--dry-run=server", "-f", "-", *self._options]
        self._run(words, manifests, _CLUSTER_SECONDS, capture=True)

    def delete(self, manifests: str) -> None:
        """Delete what the manifests name, where it is there. Raises KubectlFailed."""
        self._run(["delete", "--ignore-not-found", "-f", "-", *self._options], manifests, _CLUSTER_SECONDS)

    def _run(self, words: list[str], text: str, seconds: float, *, capture: bool = False) -> str:
        try:
            done = subprocess.run(
                [self._program, *words],
                input=text,
                stdout=subprocess.PIPE if capture else None,
                stderr=subprocess.PIPE if capture else None,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlFailed(f"kubectl {words[0]} did not end within {seconds:.0f} s") from error
        if done.returncode:
            raise KubectlFailed(f"kubectl {words[0]} failed{f': {done.stderr.strip()}' if capture else ''}")
        return done.stdout or ""
