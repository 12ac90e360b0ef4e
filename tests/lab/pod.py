"""One Pod on a node: a thread that starts its containers, probes them, restarts them, reports and ends them."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from allocator.cluster import ApiError, Cluster, NotFound, Object
from allocator.logs import EventLog
from tests.lab.container import Container, prepare_mount_points
from tests.lab.container_spec import TOKEN_MOUNT, Mount, NotYet, Unsupported, environment, volume_files
from tests.lab.network import Host
from tests.lab.pod_network import PodNetwork, PodNetworks
from tests.lab.pod_status import PODS, pod_status, timestamp
from tests.lab.probes import Probe

log = EventLog("lab.pod")

_UNREADY_PROBE_SECONDS = 0.1
_RETRY_SECONDS = 0.25
_BACKOFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NodeSide:
    """What a Pod needs of its node."""

    host: Host
    addresses: tuple[str, ...]
    networks: PodNetworks
    cluster: Cluster
    directory: Path
    volumes: Path
    service_environment: dict[str, str]
    token: Callable[[str, str], str]
    ca_certificate: Path
    connected: threading.Event
    """Cleared while the node is cut off or dead: nothing is reported then."""
    dead: threading.Event
    """Set when the node is killed: nothing is started, restarted or reported ever after."""


class PodWorker:
    """Runs one Pod from its binding to its deletion, on a thread of its own named after it.

    All state belongs to that thread, except `_ending`, set by others once, and `_wake`, written by anybody.
    """

    def __init__(self, pod: Object, node: NodeSide) -> None:
        self.pod = pod
        self.uid = str(pod["metadata"]["uid"])
        self.namespace = str(pod["metadata"]["namespace"])
        self.name = str(pod["metadata"]["name"])
        self._node = node
        self._ending: float | None = None
        self._vanished = False
        self.failure: str | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._network: PodNetwork | None = None
        self._reported: Object | None = None
        self._mounts: dict[str, list[Mount]] = {}
        self._probes: dict[tuple[str, str], Probe] = {}
        logs = node.directory / "pods" / f"{self.namespace}_{self.name}"
        earlier = {
            each["name"]: int(each.get("restartCount", 0)) + 1
            for each in (pod.get("status") or {}).get("containerStatuses") or []
        }
        self.containers = [
            Container(spec, logs / f"{spec['name']}.log", restarts=earlier.get(spec["name"], 0))
            for spec in pod["spec"]["containers"]
        ]
        self._thread = threading.Thread(target=self._run, name=f"pod-{self.namespace}-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin running the Pod."""
        self._thread.start()

    def end(self, grace_seconds: float) -> None:
        """Begin ending the Pod, as its deletion asks."""
        if self._ending is None:
            self._ending = grace_seconds
            self.wake()

    def vanish(self) -> None:
        """End the Pod without a word: the API server no longer knows it."""
        self._vanished = True
        self.end(0.0)

    def wake(self) -> None:
        """Make the thread look at the state of things now."""
        if self.alive:
            os.eventfd_write(self._wake, 1)

    @property
    def netns(self) -> str | None:
        """The network namespace its processes run in, once there is one."""
        return self._network.netns if self._network else None

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_seconds)

    @property
    def alive(self) -> bool:
        """Whether the Pod's thread runs; it ends only after the Pod has ended, or with its node."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:
            self.failure = f"pod {self.namespace}/{self.name}: {type(error).__name__}: {error}"
            log.exception("pod.failed", namespace=self.namespace, name=self.name)
        finally:
            self._close()

    def _live(self) -> None:
        if self._ending is None:
            self._prepare()
        while self._ending is None and not self._node.dead.is_set():
            due = min((self._tend(container) for container in self.containers), default=_RETRY_SECONDS)
            if not self._report():
                due = min(due, time.monotonic() + _RETRY_SECONDS)
            self._sleep_until(due)
        if not self._node.dead.is_set():
            self._end(self._ending or 0.0)

    def _prepare(self) -> None:
        """Make network and volumes; waits for what does not exist yet."""
        spec = self.pod["spec"]
        if spec.get("hostNetwork"):
            self._network = PodNetwork(self._node.host.name, self._node.addresses)
        else:
            self._network = self._node.networks.attach(self.uid[:8])
        while self._ending is None and not self._node.dead.is_set():
            try:
                volumes = self._make_volumes()
                break
            except (NotYet, Unsupported, ApiError) as error:
                self._wait_for(error)
        else:
            return
        for container in self.containers:
            mounts = [_token_mount(self._volume_path("service-account-token"))] if self._has_token else []
            for entry in container.spec.get("volumeMounts") or []:
                if entry["mountPath"] != TOKEN_MOUNT:
                    source = volumes[entry["name"]] / (entry.get("subPath") or "")
                    mounts.append(Mount(source, Path(entry["mountPath"])))
            prepare_mount_points(mounts)
            self._mounts[container.name] = mounts
            for kind in ("readinessProbe", "livenessProbe"):
                if probe := Probe.parse(container.spec, kind):
                    self._probes[container.name, kind] = probe

    def _wait_for(self, error: Exception) -> None:
        for container in self.containers:
            container.waiting_reason = "CreateContainerConfigError"
            container.waiting_message = str(error)
        self._report()
        self._sleep_until(time.monotonic() + _RETRY_SECONDS)

    @property
    def _has_token(self) -> bool:
        return self.pod["spec"].get("automountServiceAccountToken") is not False

    def _volume_path(self, name: str) -> Path:
        return self._node.volumes / self.uid / name

    def _make_volumes(self) -> dict[str, Path]:
        paths = {}
        mounted = {
            entry["name"]
            for container in self.containers
            for entry in container.spec.get("volumeMounts") or []
            if entry["mountPath"] != TOKEN_MOUNT
        }
        for volume in self.pod["spec"].get("volumes") or []:
            if volume["name"] in mounted:
                files = volume_files(volume, self.namespace, self._node.cluster)
                paths[volume["name"]] = self._write_volume(volume["name"], files or {})
        if self._has_token:
            account = self.pod["spec"].get("serviceAccountName") or "default"
            token = self._node.token(self.namespace, account)
            ca_certificate = self._node.ca_certificate.read_bytes()
            files = {"token": token.encode(), "ca.crt": ca_certificate, "namespace": self.namespace.encode()}
            self._write_volume("service-account-token", files)
        return paths

    def _write_volume(self, name: str, files: dict[str, bytes]) -> Path:
        directory = self._volume_path(name)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o1777 if not files else 0o755)
        for file, content in files.items():
            (directory / file).write_bytes(content)
        return directory

    def _tend(self, container: Container) -> float:
        """Do what this container needs now; return when to look again (monotonic)."""
        now = time.monotonic()
        if container.process is not None and container.pidfd >= 0 and not container.process.alive:
            self._take_exit(container, now)
        if not container.running:
            if now < container.start_again_at:
                return container.start_again_at
            if not self._start(container):
                return time.monotonic() + _RETRY_SECONDS
        return min(self._probe(container, kind) for kind in ("readinessProbe", "livenessProbe"))

    def _start(self, container: Container) -> bool:
        network = self._network
        if network is None:
            return False
        addresses = [{"ip": address} for address in network.addresses]
        status = {"hostIP": self._node.addresses[0], "podIP": network.addresses[0], "podIPs": addresses}
        try:
            hostname = self._node.host.name if self.pod["spec"].get("hostNetwork") else self.name
            env = self._node.service_environment | {"HOSTNAME": hostname}
            env |= environment(container.spec, {**self.pod, "status": status}, self._node.cluster)
            container.start(
                netns=network.netns, hostname=hostname, env=env, mounts=self._mounts.get(container.name, [])
            )
        except (NotYet, Unsupported, ApiError) as error:
            container.waiting_reason, container.waiting_message = "CreateContainerConfigError", str(error)
            return False
        now = container.launched_at = time.monotonic()
        container.started_at = timestamp()
        container.probe_failures.clear()
        for kind in ("readinessProbe", "livenessProbe"):
            probe = self._probes.get((container.name, kind))
            # Asked from the start: a container that is ready is to be seen ready at once, whatever its delay.
            delay = probe.initial_delay_seconds if probe and kind == "livenessProbe" else 0.0
            container.probe_at[kind] = now + delay
        return True

    def _take_exit(self, container: Container, now: float) -> None:
        code = container.forget_process()
        if now - container.launched_at > _STEADY_SECONDS:
            container.quick_failures = 0
        container.start_again_at = now + _BACKOFF_SECONDS[min(container.quick_failures, len(_BACKOFF_SECONDS) - 1)]
        container.quick_failures += 1
        container.last_exit = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": container.started_at,
            "finishedAt": timestamp(),
        }
        container.restarts += 1
        container.waiting_reason, container.waiting_message = "CrashLoopBackOff", "restarting"
        log.info("container.ended", pod=f"{self.namespace}/{self.name}", container=container.name, code=code)

    def _probe(self, container: Container, kind: str) -> float:
        probe = self._probes.get((container.name, kind))
        if probe is None or self._network is None:
            if kind == "readinessProbe":
                container.ready = container.running
            return float("inf")
        if time.monotonic() < container.probe_at[kind]:
            return container.probe_at[kind]
        with self._node.host.inside():
            problem = probe.ask(self._network.addresses[0])
        failures = container.probe_failures.get(kind, 0) + 1 if problem else 0
        container.probe_failures[kind] = failures
        if kind == "readinessProbe":
            if problem is None or failures >= probe.failure_threshold:
                container.ready = problem is None and container.running
        elif failures >= probe.failure_threshold and container.process is not None:
            log.warning("container.unhealthy", pod=f"{self.namespace}/{self.name}", problem=problem)
            container.process.sigkill()
        waiting = kind == "readinessProbe" and not container.ready
        container.probe_at[kind] = time.monotonic() + (_UNREADY_PROBE_SECONDS if waiting else probe.period_seconds)
        return container.probe_at[kind]

    def _report(self) -> bool:
        """Write the Pod's status if it changed; tell whether the API server has the present one."""
        if not self._node.connected.is_set() or self._node.dead.is_set():
            return False
        addresses = self._network.addresses if self._network else ()
        status = pod_status(
            self.pod, self.containers, host_ip=self._node.addresses[0], pod_ips=addresses, before=self._reported
        )
        if status == self._reported:
            return True
        try:
            self._node.cluster.patch(
                PODS,
                self.name,
                {"status": status, "metadata": {"uid": self.uid}},
                self.namespace,
                subresource="status",
            )
        except NotFound:
            self.vanish()
        except ApiError as error:
            log.debug("status.refused", pod=f"{self.namespace}/{self.name}", error=error)
            return False
        self._reported = status
        return True

    def _sleep_until(self, due: float) -> None:
        """Sleep until a container ends, somebody wakes the thread, or the time has come."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for container in self.containers:
            if container.pidfd >= 0:
                poll.register(container.pidfd, select.POLLIN)
        seconds = min(max(0.0, due - time.monotonic()), 60.0)
        if any(descriptor == self._wake for descriptor, _ in poll.poll(seconds * 1000)):
            os.eventfd_read(self._wake)

    def _end(self, grace_seconds: float) -> None:
        deadline = time.monotonic() + grace_seconds
        for container in self.containers:
            container.ask_to_end()
        for container in self.containers:
            container.wait_end(deadline - time.monotonic())
            if container.process is not None and container.pidfd >= 0:
                container.forget_process()
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        while not (self._vanished or self._node.dead.is_set()):
            try:
                if self._node.connected.is_set():
                    self._node.cluster.raw("DELETE", path, query={"gracePeriodSeconds": "0"})
                    return
            except NotFound:
                return
            except ApiError as error:
                log.debug("delete.refused", pod=f"{self.namespace}/{self.name}", error=error)
            self._sleep_until(time.monotonic() + _RETRY_SECONDS)

    def _close(self) -> None:
        for container in self.containers:
            if container.process is not None and container.pidfd >= 0:
                container.forget_process()
        if self._network is not None:
            self._network.close()


def _token_mount(source: Path) -> Mount:
    return Mount(source, Path(TOKEN_MOUNT).resolve())
