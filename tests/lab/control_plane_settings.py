"""How each program of the control plane is started, on any version: no flag that `--help` does not list."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.audit import AuditLog
from tests.lab.binaries import Binaries
from tests.lab.certificates import KeyPair
from tests.lab.program_help import etcd_accepts, program_help

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""The issuer, and so the audience, of ServiceAccount tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the three programs have to agree on."""

    binaries: Binaries
    directory: Path
    address: str
    port: int
    etcd_port: int
    fsync: bool
    service_cidrs: tuple[str, ...]
    controllers: tuple[str, ...]
    node_ports: str
    authority_certificate: Path
    server: KeyPair
    kubelet_client: KeyPair
    token_key: Path
    token_public_key: Path
    audited_users: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where clients reach the API server."""
        return f"https://{self.address}:{self.port}"

    @property
    def etcd_url(self) -> str:
        """Where etcd serves clients, gRPC and its JSON gateway alike, on loopback only."""
        return f"http://127.0.0.1:{self.etcd_port}"

    def etcd_command(self) -> list[str | Path]:
        """The command line of etcd: a single member."""
        program = self.binaries.etcd
        durability = [] if self.fsync or not etcd_accepts(program, "--unsafe-no-fsync") else ["--unsafe-no-fsync"]
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

    def api_server_command(self) -> list[str | Path]:
        """The command line of kube-apiserver; webhooks are called at their pods' addresses."""
        program = self.binaries.kube_apiserver
        known = program_help(program)
        loopback = ipaddress.ip_address(self.address).is_loopback
        return [
            program,
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self.address if loopback else '0.0.0.0'}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self.server.certificate}",
            f"--tls-private-key-file={self.server.key}",
            f"--cert-dir={self.directory / 'pki'}",
            f"--client-ca-file={self.authority_certificate}",
            f"--kubelet-client-certificate={self.kubelet_client.certificate}",
            f"--kubelet-client-key={self.kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-cluster-ip-range={','.join(self.service_cidrs)}",
            f"--service-node-port-range={self.node_ports}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self.token_public_key}",
            f"--service-account-signing-key-file={self.token_key}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--enable-aggregator-routing=true",
            # Loopback is no valid endpoint of the `kubernetes` Service.
            *(["--endpoint-reconciler-type=none"] if loopback else []),
            *(AuditLog(self.directory).flags(self.audited_users) if self.audited_users else []),
            *known.only_known(insecure_port="0"),
            *known.gates_to_open(),
        ]

    def controller_manager_command(self, kubeconfig: Path) -> list[str | Path]:
        """The command line of kube-controller-manager, which serves nothing itself."""
        program = self.binaries.kube_controller_manager
        known = program_help(program)
        return [
            program,
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
            f"--cert-dir={self.directory / 'pki'}",
            f"--root-ca-file={self.authority_certificate}",
            f"--service-account-private-key-file={self.token_key}",
            f"--controllers={','.join(self.controllers)}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            *known.only_known(port="0"),
            *known.gates_to_open(),
        ]
