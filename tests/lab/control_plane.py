"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, kube-controller-manager in one directory."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from allocator.kube.client import ApiError, Cluster
from allocator.kube.resource import NAMESPACES, SERVICE_ACCOUNTS
from tests.lab.binaries import Binaries
from tests.lab.certificates import Authority, signing_key
from tests.lab.control_plane_settings import ISSUER, Settings
from tests.lab.kubeconfigs import CONTROLLER_MANAGER, Kubeconfigs
from tests.lab.processes import Process

ETCD = "etcd"
API_SERVER = "kube-apiserver"

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

SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")
NODE_PORTS = "30000-32767"
"""Of Kubernetes itself: it ends at 2,768 Services."""

ANSWER_SECONDS = 30.0
"""How long a test waits for one answer: webhooks have up to 10 s of it, and more on a busy machine."""

_START_SECONDS = 60
_NOT_YET = (OSError, HTTPException)
_KUBECTL_SECONDS = 60
_TOKEN_SECONDS = 6 * 3600


class KubectlFailed(AssertionError):
    """kubectl ended with an error; the message is the command and what it printed."""


class ControlPlane:
    """One control plane, whose processes can each be killed, frozen and started again over the same data.

    Everything lies in `directory`: certificates, kubeconfigs, data, logs. One thread starts and kills;
    connections, kubeconfigs, tokens and kubectl may be asked for by several (`_lock` guards the connections).
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        fsync: bool = False,
        service_cidrs: Sequence[str] = SERVICE_CIDRS,
        controllers: Sequence[str] = CONTROLLERS,
        node_ports: str = NODE_PORTS,
        audited_users: Sequence[str] = (),
    ) -> None:
        """Prepare, without starting anything.

        `address` is where the API server is reached, by this machine and by pods; a free port is taken where
        none is given. Without `fsync` a power failure would lose data, a SIGKILL does not. Every LoadBalancer
        Service takes one of `node_ports`, so that the usual range ends at 2,768 of them. What `audited_users` ask
        for, AuditLog of the same directory knows.
        """
        self.binaries = binaries
        self.directory = directory
        self.authority = Authority(directory / "pki")
        hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", address]
        hosts += [str(ipaddress.ip_network(cidr)[1]) for cidr in service_cidrs]
        token_key, token_public_key = signing_key(directory / "pki", "service-account")
        self._settings = Settings(
            binaries=binaries,
            directory=directory,
            address=address,
            port=port or _free_port(address),
            etcd_port=_free_port("127.0.0.1"),
            fsync=fsync,
            service_cidrs=tuple(service_cidrs),
            controllers=tuple(controllers),
            node_ports=node_ports,
            authority_certificate=self.authority.certificate,
            server=self.authority.server("apiserver", list(dict.fromkeys(hosts))),
            kubelet_client=self.authority.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client"),
            token_key=token_key,
            token_public_key=token_public_key,
            audited_users=tuple(audited_users),
        )
        self._kubeconfigs = Kubeconfigs(directory, url=self._settings.url, authority=self.authority)
        self._probe = self.authority.client("readiness-probe", "readiness-probe", ("system:masters",))
        self._processes: dict[str, Process] = {}
        self._lock = threading.Lock()
        self._clusters: dict[str, Cluster] = {}

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
        return self._settings.url

    @property
    def etcd_url(self) -> str:
        """Where etcd serves clients, gRPC and its JSON gateway alike, on loopback only."""
        return self._settings.etcd_url

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

    def back_up(self, directory: Path) -> None:
        """Copy etcd's data to a new directory, with the API server stopped meanwhile: a snapshot of one moment."""
        self._offline(lambda data: shutil.copytree(data, directory))

    def restore(self, directory: Path) -> None:
        """Put etcd's data back to what it was at a `back_up`, in place, and wait until the API server is ready."""

        def replace(data: Path) -> None:
            shutil.rmtree(data)
            shutil.copytree(directory, data)

        self._offline(replace)

    def _offline(self, work: Callable[[Path], object]) -> None:
        for name in (CONTROLLER_MANAGER, API_SERVER, ETCD):
            self.kill(name)
        work(self.directory / "etcd")
        for name in (ETCD, API_SERVER):
            self.start_again(name)
        self.wait_ready()
        self.start_again(CONTROLLER_MANAGER)

    def pause_api(self) -> None:
        """Freeze the API server."""
        self.pause(API_SERVER)

    def resume_api(self) -> None:
        """Thaw the API server."""
        self.resume(API_SERVER)

    def wait_ready(self, timeout_seconds: float = _START_SECONDS) -> None:
        """Wait until `/readyz` says ok and the `default` namespace is there."""
        process = self._processes[API_SERVER]
        process.wait_until(self._answers_ready, timeout_seconds, "the API server is ready", retry_on=_NOT_YET)
        cluster = self.cluster()
        process.wait_until(
            lambda: cluster.get(NAMESPACES, "default"),
            timeout_seconds,
            "the API server serves its first namespace",
            retry_on=(ApiError,),
        )

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig for `admin` (may do anything), `kube-proxy`, or any other user with its groups."""
        return self._kubeconfigs.of_user(user, groups)

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Return a kubeconfig with a fresh token of a ServiceAccount that exists. Raises NotFound."""
        token = self.token(namespace, service_account)
        return self._kubeconfigs.of_token(f"{namespace}-{service_account}", token)

    def token(self, namespace: str, service_account: str) -> str:
        """Return a fresh token of a ServiceAccount that exists, as a kubelet gets it. Raises NotFound."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS, "audiences": [ISSUER]},
        }
        answer = self.cluster().create_subresource(SERVICE_ACCOUNTS, service_account, "token", request, namespace)
        return str(answer["status"]["token"])

    def cluster(self, user: str = "admin") -> Cluster:
        """Return the connection of `user`, one per user."""
        with self._lock:
            if user not in self._clusters:
                kubeconfig = str(self.kubeconfig(user))
                self._clusters[user] = Cluster.from_environment(kubeconfig, timeout_seconds=ANSWER_SECONDS)
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
            # It ends before it could run out of memory.
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig(user)), "GOGC": "off"},
        )
        if check and done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _start(self, name: str) -> None:
        command: Callable[[], list[str | Path]] = {
            ETCD: self._settings.etcd_command,
            API_SERVER: self._settings.api_server_command,
            CONTROLLER_MANAGER: lambda: self._settings.controller_manager_command(
                self.kubeconfig(CONTROLLER_MANAGER)
            ),
        }[name]
        self._processes[name] = Process(command(), name=name, log=self.directory / f"{name}.log")

    def _answers_ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.load_cert_chain(self._probe.certificate, self._probe.key)
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=context) as answer:
                return bool(answer.read() == b"ok")
        except urllib.error.HTTPError:
            return False


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
