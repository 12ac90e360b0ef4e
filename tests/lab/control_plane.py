"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, kube-controller-manager in one directory."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from allocator.cluster import ApiError, Cluster
from allocator.names import NAMESPACES, SERVICE_ACCOUNTS
from tests.lab.binaries import Binaries
from tests.lab.certificates import Authority, KeyPair, signing_key
from tests.lab.processes import Process
from tests.lab.program_help import etcd_accepts, program_help

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"

CONTROLLERS = (
    "clusterrole-aggregation",
    "daemonset",
    "deployment",
    "endpoint",
    "endpointslice",
    "garbagecollector",
    "namespace",
    "replicaset",
    "root-ca-cert-publisher",
    "serviceaccount",
    "serviceaccount-token",
)
"""What a lab without cloud, volumes and eviction needs, by the names of Kubernetes 1.20, which later versions keep
as aliases (cmd/kube-controller-manager/names, "change policy")."""

POD_CIDRS = ("10.244.0.0/16", "fd00:10:244::/48")
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")

_USERS = {
    "admin": ("lab-admin", ("system:masters",)),
    CONTROLLER_MANAGER: ("system:kube-controller-manager", ("system:masters",)),
    "kube-proxy": ("system:kube-proxy", ()),
}
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_START_SECONDS = 60
_KUBECTL_SECONDS = 60
_TOKEN_SECONDS = 6 * 3600


class KubectlFailed(AssertionError):
    """kubectl ended with an error; the message is the command and what it printed."""


class ControlPlane:
    """One control plane, whose processes can each be killed, frozen and started again over the same data.

    Everything lies in `directory`: certificates, kubeconfigs, data, logs. Owned by one thread.
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        fsync: bool = False,
        pod_cidrs: Sequence[str] = POD_CIDRS,
        service_cidrs: Sequence[str] = SERVICE_CIDRS,
        controllers: Sequence[str] = CONTROLLERS,
    ) -> None:
        """Prepare, without starting anything.

        `address` is where the API server is reached, by this machine and by pods; a free port is taken where
        none is given. Without `fsync` a power failure would lose data, a SIGKILL does not.
        """
        self.binaries = binaries
        self.directory = directory
        self.address = address
        self.port = port or _free_port(address)
        self.pod_cidrs = tuple(pod_cidrs)
        self.service_cidrs = tuple(service_cidrs)
        self._fsync = fsync
        self._controllers = tuple(controllers)
        self._etcd_port = _free_port("127.0.0.1")
        self._processes: dict[str, Process] = {}
        self._clusters: dict[str, Cluster] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(directory / "pki")
        hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", address]
        hosts += [str(ipaddress.ip_network(cidr)[1]) for cidr in self.service_cidrs]
        self._server = self.authority.server("apiserver", list(dict.fromkeys(hosts)))
        self.kubelet_client = self.authority.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client")
        self._token_key, self._token_public_key = signing_key(directory / "pki", "service-account")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients reach the API server."""
        return f"https://{self.address}:{self.port}"

    @property
    def etcd_url(self) -> str:
        """Where etcd serves clients, gRPC and its JSON gateway alike, on loopback only."""
        return f"http://127.0.0.1:{self._etcd_port}"

    @property
    def processes(self) -> dict[str, Process]:
        """The processes by name; a killed one stays until it is started again."""
        return dict(self._processes)

    def start(self) -> None:
        """Start everything; return once the API server is ready and serves the `default` namespace."""
        self._start(ETCD)
        self._start(API_SERVER)
        self.wait_ready()
        self._start(CONTROLLER_MANAGER)

    def stop(self) -> None:
        """Kill everything. The data stays in the directory."""
        for name in (CONTROLLER_MANAGER, API_SERVER, ETCD):
            if name in self._processes:
                self._processes[name].sigkill()

    def kill(self, name: str) -> None:
        """SIGKILL one of the processes."""
        self._processes[name].sigkill()

    def start_again(self, name: str) -> None:
        """Start a process that was killed or stopped, over the same data, without waiting for it to be ready."""
        if self._processes[name].alive:
            raise RuntimeError(f"{name} still runs")
        self._start(name)

    def pause(self, name: str) -> None:
        """Freeze one of the processes: connections stay, answers stop."""
        self._processes[name].sigstop()

    def resume(self, name: str) -> None:
        """Thaw a frozen process."""
        self._processes[name].sigcont()

    def start_api(self) -> None:
        """Start the API server again after `stop_api` or `kill`, and wait until it is ready."""
        self.start_again(API_SERVER)
        self.wait_ready()

    def stop_api(self, grace_seconds: float = 5.0) -> None:
        """End the API server as a shutdown does: SIGTERM first."""
        self._processes[API_SERVER].terminate(grace_seconds)

    def pause_api(self) -> None:
        """Freeze the API server."""
        self.pause(API_SERVER)

    def resume_api(self) -> None:
        """Thaw the API server."""
        self.resume(API_SERVER)

    def wait_ready(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Wait until `/readyz` says ok and the `default` namespace is there."""
        process = self._processes[API_SERVER]
        process.wait_until(self._answers_ready, timeout_seconds, "the API server is ready", retry_on=(OSError,))
        cluster = self.cluster()
        process.wait_until(
            lambda: cluster.get(NAMESPACES, "default"),
            timeout_seconds,
            "the API server serves its first namespace",
            retry_on=(ApiError,),
        )

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig for `admin` (may do anything), `kube-proxy`, or any other user with its groups."""
        path = self.directory / f"{_file_name(user)}.kubeconfig"
        if not path.exists():
            name, own_groups = _USERS.get(user, (user, tuple(groups)))
            pair = self.authority.client(f"user-{_file_name(user)}", name, own_groups)
            self._write_kubeconfig(path, {"client-certificate": str(pair.certificate), "client-key": str(pair.key)})
        return path

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig with a fresh token of a ServiceAccount that exists. Raises NotFound."""
        path = self.directory / f"{_file_name(f'{namespace}-{service_account}')}.kubeconfig"
        self._write_kubeconfig(path, {"token": self.token(namespace, service_account)})
        return path

    def token(self, namespace: str, service_account: str) -> str:
        """Return a fresh token of a ServiceAccount that exists, as a kubelet gets it. Raises NotFound."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS, "audiences": [_ISSUER]},
        }
        answer = self.cluster().create_subresource(SERVICE_ACCOUNTS, service_account, "token", request, namespace)
        return str(answer["status"]["token"])

    def cluster(self, user: str = "admin") -> Cluster:
        """Return the connection of `user`, one per user."""
        if user not in self._clusters:
            self._clusters[user] = Cluster.from_environment(str(self.kubeconfig(user)))
        return self._clusters[user]

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        check: bool = True,
        user: str = "admin",
        timeout_seconds: float = _KUBECTL_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a person would. Raises KubectlFailed unless `check` is off."""
        done = subprocess.run(
            [self.binaries.kubectl, "--cache-dir", str(self.directory / "kubectl-cache"), *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig(user))},
        )
        if check and done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _start(self, name: str) -> None:
        argv = {
            ETCD: self._etcd_argv,
            API_SERVER: self._api_server_argv,
            CONTROLLER_MANAGER: self._controller_manager_argv,
        }[name]()
        self._processes[name] = Process(argv, name=name, log=self.directory / f"{name}.log")

    def _etcd_argv(self) -> list[str | Path]:
        program = self.binaries.etcd
        durability = [] if self._fsync or not etcd_accepts(program, "--unsafe-no-fsync") else ["--unsafe-no-fsync"]
        return [
            program,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            # A single member needs no patience before it elects itself.
            "--heartbeat-interval=20",
            "--election-timeout=200",
            *durability,
        ]

    def _api_server_argv(self) -> list[str | Path]:
        program = self.binaries.kube_apiserver
        known = program_help(program)
        loopback = ipaddress.ip_address(self.address).is_loopback
        return [
            program,
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self.address if loopback else '0.0.0.0'}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self._server.certificate}",
            f"--tls-private-key-file={self._server.key}",
            f"--cert-dir={self.directory / 'pki'}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-client-certificate={self.kubelet_client.certificate}",
            f"--kubelet-client-key={self.kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={','.join(self.service_cidrs)}",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={self._token_public_key}",
            f"--service-account-signing-key-file={self._token_key}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--enable-aggregator-routing=true",
            # Loopback is no valid endpoint of the `kubernetes` Service.
            *(["--endpoint-reconciler-type=none"] if loopback else []),
            *known.only_known(insecure_port="0"),
            *known.gates_to_open(),
        ]

    def _controller_manager_argv(self) -> list[str | Path]:
        program = self.binaries.kube_controller_manager
        known = program_help(program)
        return [
            program,
            f"--kubeconfig={self.kubeconfig(CONTROLLER_MANAGER)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
            f"--cert-dir={self.directory / 'pki'}",
            f"--root-ca-file={self.authority.certificate}",
            f"--service-account-private-key-file={self._token_key}",
            f"--controllers={','.join(self._controllers)}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            *known.only_known(port="0"),
            *known.gates_to_open(),
        ]

    def _answers_ready(self) -> bool:
        admin = KeyPair(self.directory / "pki" / "user-admin.crt", self.directory / "pki" / "user-admin.key")
        self.kubeconfig()
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.load_cert_chain(admin.certificate, admin.key)
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=context) as answer:
                return bool(answer.read() == b"ok")
        except urllib.error.HTTPError:
            return False

    def _write_kubeconfig(self, path: Path, user: dict[str, str]) -> None:
        cluster = {"server": self.url, "certificate-authority": str(self.authority.certificate)}
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


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _file_name(text: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in text)
