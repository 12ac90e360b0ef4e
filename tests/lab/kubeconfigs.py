"""Who may talk to the API server, and the kubeconfig file of each."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.lab.certificates import Authority

CONTROLLER_MANAGER = "kube-controller-manager"

_USERS = {
    "admin": ("lab-admin", ("system:masters",)),
    CONTROLLER_MANAGER: ("system:kube-controller-manager", ("system:masters",)),
    "kube-proxy": ("system:kube-proxy", ()),
}


class Kubeconfigs:
    """The kubeconfig files of one API server, each made when first asked for.

    Safe to use from several threads: `_lock` is held while a file is made.
    """

    def __init__(self, directory: Path, *, url: str, authority: Authority) -> None:
        self._directory = directory
        self._url = url
        self._authority = authority
        self._lock = threading.Lock()

    def of_user(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return the kubeconfig of one of the lab's own users, else of whoever `user` names, in `groups`.

        The first call decides the groups.
        """
        path = self._directory / f"{_file_name(user)}.kubeconfig"
        with self._lock:
            if not path.exists():
                name, own_groups = _USERS.get(user, (user, tuple(groups)))
                pair = self._authority.client(f"user-{_file_name(user)}", name, own_groups)
                self._write(path, {"client-certificate": str(pair.certificate), "client-key": str(pair.key)})
        return path

    def of_token(self, name: str, token: str) -> Path:
        """Return a kubeconfig that carries `token`, in place of an earlier one of that `name`."""
        path = self._directory / f"{_file_name(name)}.kubeconfig"
        with self._lock:
            self._write(path, {"token": token})
        return path

    def _write(self, path: Path, user: dict[str, str]) -> None:
        cluster = {"server": self._url, "certificate-authority": str(self._authority.certificate)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1))


def _file_name(text: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in text)
