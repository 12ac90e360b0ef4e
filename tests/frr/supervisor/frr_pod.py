"""The container of the DaemonSet `frr` on a node of the lab, as its manifest says, without a cluster around it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from speaker.bgp.vty import Vty, VtyError
from tests.lab.bird import SESSION, Bird
from tests.lab.container import PROJECT, Container
from tests.lab.container_spec import Mount, environment
from tests.lab.debian_root import DebianRoot
from tests.lab.frr_image import NAME
from tests.lab.images import Image
from tests.lab.network import Host, Network
from tests.lab.waiting import wait_until

MANIFEST = PROJECT / "kustomize" / "components" / "bgp" / "frr.yaml"
NAMESPACE = "metallb-system"
NODE_ASN, ROUTER_ASN = 64512, 64513
NODE_ADDRESS, ROUTER_ADDRESS = "10.0.1.1", "10.0.1.2"
SECONDS = 30.0


@dataclass
class FrrPod:
    """The Pod's one container; `files` is what the node shows of its own at `/run/admitlb`."""

    host: Host
    images: Mapping[str, Image]
    folder: Path
    files: Path
    container: Container = field(init=False)

    def __post_init__(self) -> None:
        (daemon_set,) = (each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "DaemonSet")
        self.spec: Any = daemon_set["spec"]["template"]["spec"]
        (self._container_spec,) = self.spec["containers"]
        self.container = Container(self._container_spec, self.folder / "frr.log")

    @property
    def sockets(self) -> Path:
        """The folder of sockets as the machine sees it."""
        return self.files / NAMESPACE

    def start(self, **variables: str) -> None:
        """Start it, with further variables."""
        pod = {"metadata": {"name": "frr-1", "namespace": NAMESPACE, "uid": "1"}, "spec": self.spec}
        mounts = []
        for volume in self.spec["volumes"]:
            (mount,) = (each for each in self._container_spec["volumeMounts"] if each["name"] == volume["name"])
            source = self.files if "hostPath" in volume else self.folder / volume["name"]
            source.mkdir(exist_ok=True)
            source.chmod(0o755 if "hostPath" in volume else 0o1777)
            mounts.append(Mount(source, Path(mount["mountPath"]), writable=True))
        env = environment(self._container_spec, pod, None) | variables  # type: ignore[arg-type]
        self.container.start(
            self.spec, netns=self.host.name, hostname=self.host.name, env=env, mounts=mounts, images=self.images
        )

    def start_and_wait(self, **variables: str) -> None:
        """Start it and wait until every daemon answers."""
        self.start(**variables)
        wait_until(lambda: "FRR runs" in self.log(), SECONDS, f"FRR runs: {self.log()}")

    def log(self) -> str:
        """What it has written."""
        return self.container.log.read_text() if self.container.log.exists() else ""

    def ask_to_end(self, seconds: float = SECONDS) -> int:
        """Ask it to end as a kubelet does; return its exit code."""
        self.container.ask_to_end()
        return self.wait_end(seconds)

    def wait_end(self, seconds: float = SECONDS) -> int:
        """Wait until it has ended; return its exit code."""
        assert self.container.wait_end(seconds), self.log()
        return self.container.forget_process()

    def connect(self, daemon: str = "bgpd") -> Vty:
        """Connect to a daemon as a speaker does, from the node's own network."""
        with self.host.inside():
            return Vty(self.sockets / f"{daemon}.vty")

    def configure(self, vty: Vty, *prefixes: str) -> None:
        """Announce prefixes to the router."""
        for line in (
            "configure terminal",
            f"router bgp {NODE_ASN}",
            f"bgp router-id {NODE_ADDRESS}",
            "no bgp ebgp-requires-policy",
            "no bgp network import-check",
            f"neighbor {ROUTER_ADDRESS} remote-as {ROUTER_ASN}",
            f"neighbor {ROUTER_ADDRESS} timers connect 1",
            "address-family ipv4 unicast",
            *(f"network {prefix}" for prefix in prefixes),
            "end",
        ):
            vty.run(line)

    def pids(self, daemon: str) -> list[int]:
        """The processes of a daemon on this node."""
        answer = self.host.run("ip", "netns", "pids", self.host.name).stdout.split()
        return [pid for pid in map(int, answer) if _program(pid) == daemon]

    def kill(self, daemon: str) -> None:
        """SIGKILL a daemon."""
        for pid in self.pids(daemon):
            os.kill(pid, signal.SIGKILL)

    def answers(self, daemon: str) -> bool:
        """Whether a daemon takes commands."""
        try:
            self.connect(daemon).close()
        except VtyError:
            return False
        return True

    def close(self) -> None:
        """Kill it and all of its daemons."""
        if self.container.pidfd >= 0:
            self.container.forget_process()
        shutil.rmtree(self.files, ignore_errors=True)


@dataclass
class Site:
    """A node with the Pod (not started) and a BIRD beside it that announces the prefixes to its kernel."""

    pod: FrrPod
    router: Host
    bird: Bird

    def log_of_bird(self) -> str:
        """What BIRD has written."""
        return (self.pod.folder / "bird.log").read_text()


@contextmanager
def site(image: Image, bird: DebianRoot, folder: Path) -> Iterator[Site]:
    """Build it; everything ends with the block."""
    with ExitStack() as running:
        network = running.enter_context(Network())
        lan = network.lan("frr")
        node, router = network.host("frr-node"), network.host("frr-router", router=True)
        node.plug(lan, "eth0", [f"{NODE_ADDRESS}/24"])
        router.plug(lan, "eth0", [f"{ROUTER_ADDRESS}/24"])
        sessions = SESSION.format(
            name="node", local_asn=ROUTER_ASN, neighbor=NODE_ADDRESS, asn=NODE_ASN, more="  debug { states, events };"
        )
        routing = running.enter_context(
            Bird(bird, netns=router.name, logs=folder, router_id=ROUTER_ADDRESS, sessions=sessions)
        )
        files = Path(tempfile.mkdtemp(prefix="frr-files-", dir="/run"))
        pod = FrrPod(node, {NAME: image}, folder, files)
        running.callback(pod.close)
        yield Site(pod, router, routing)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
