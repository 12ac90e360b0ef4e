"""A Pod's volumes as directories, and where each of its containers sees them."""

from __future__ import annotations

from pathlib import Path

from allocator.kube.client import Object
from tests.lab.container_spec import TOKEN_MOUNT, Mount, Unsupported, volume_files
from tests.lab.node_side import NodeSide

_TOKEN_VOLUME = "service-account-token"


class PodVolumes:
    """The volumes of one Pod on its node."""

    def __init__(self, pod: Object, node: NodeSide) -> None:
        self._spec = pod["spec"]
        self._namespace = str(pod["metadata"]["namespace"])
        self._directory = node.volumes / str(pod["metadata"]["uid"])
        self._node = node

    def make(self) -> None:
        """Write every volume that a container mounts. Raises NotYet, Unsupported, ApiError."""
        mounted = {entry["name"] for container in self._spec["containers"] for entry in _declared_mounts(container)}
        for volume in self._spec.get("volumes") or []:
            if volume["name"] not in mounted:
                continue
            if "hostPath" in volume:
                self._make_host_path(volume["hostPath"])
            else:
                files = volume_files(volume, self._namespace, self._node.cluster)
                self._write(volume["name"], files or {}, everybody_writes=files is None)
        if self._has_token:
            token = self._node.token(self._namespace, self._spec.get("serviceAccountName") or "default")
            files = {
                "token": token.encode(),
                "ca.crt": self._node.ca_certificate.read_bytes(),
                "namespace": self._namespace.encode(),
            }
            self._write(_TOKEN_VOLUME, files, everybody_writes=False)

    def mounts(self, container: Object) -> list[Mount]:
        """Return what the container sees where; call after `make`."""
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes") or []}
        mounts = [
            Mount(
                self._source(volumes[entry["name"]]) / (entry.get("subPath") or ""),
                Path(entry["mountPath"]),
                # What comes from Secrets and ConfigMaps is read-only in any case.
                writable=bool({"emptyDir", "hostPath"} & volumes[entry["name"]].keys()) and not entry.get("readOnly"),
            )
            for entry in _declared_mounts(container)
        ]
        if self._has_token:
            # /var/run is a link to /run: a mount point has to be named as what it is.
            mounts.append(Mount(self._directory / _TOKEN_VOLUME, Path(TOKEN_MOUNT).resolve()))
        return mounts

    @property
    def _has_token(self) -> bool:
        return self._spec.get("automountServiceAccountToken") is not False

    def _source(self, volume: Object) -> Path:
        if "hostPath" in volume:
            return self._node.files / str(volume["hostPath"]["path"]).lstrip("/")
        return self._directory / str(volume["name"])

    def _make_host_path(self, host_path: Object) -> None:
        """Make the folder on the node. Raises Unsupported for anything but a folder that a kubelet would make."""
        if host_path.get("type") != "DirectoryOrCreate":
            raise Unsupported(f"hostPath {host_path['path']} of type {host_path.get('type') or 'none'}")
        (self._node.files / str(host_path["path"]).lstrip("/")).mkdir(mode=0o755, parents=True, exist_ok=True)

    def _write(self, name: str, files: dict[str, bytes], *, everybody_writes: bool) -> None:
        directory = self._directory / name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o1777 if everybody_writes else 0o755)
        for file, content in files.items():
            (directory / file).write_bytes(content)


def _declared_mounts(container: Object) -> list[Object]:
    # The API server adds the token's mount (a Secret up to 1.20, projected since); nodes here make their own.
    return [entry for entry in container.get("volumeMounts") or [] if entry["mountPath"] != TOKEN_MOUNT]
