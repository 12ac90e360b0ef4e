"""One Pod on a node: a thread that starts its containers, probes them, restarts them, reports and ends them."""

from __future__ import annotations

import os
import select
import threading
import time

from allocator.kube.client import ApiError, NotFound, Object
from allocator.process.logs import EventLog
from tests.lab.container import Container, prepare_mount_points
from tests.lab.container_spec import Mount, NotYet, Unsupported, environment
from tests.lab.node_side import NodeSide
from tests.lab.pod_network import PodNetwork
from tests.lab.pod_status import PODS, pod_status, timestamp
from tests.lab.pod_volumes import PodVolumes
from tests.lab.prober import Prober

log = EventLog("lab.pod")

_RETRY_SECONDS = 0.25
_BACKOFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0


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
        if self.pod["spec"].get("hostNetwork"):
            self._network = PodNetwork(self._node.host.name, self._node.addresses)
        else:
            self._network = self._node.networks.attach(self.uid[:8])
        volumes = PodVolumes(self.pod, self._node)
        while self._ending is None and not self._node.dead.is_set():
            try:
                volumes.make()
                for container in self.containers:
                    container.prober = Prober(container.spec)
                    self._mounts[container.name] = volumes.mounts(container.spec)
                    prepare_mount_points(self._mounts[container.name])
                return
            except (NotYet, Unsupported, ApiError) as error:
                self._wait_for(error)

    def _wait_for(self, error: Exception) -> None:
        for container in self.containers:
            container.waiting_reason = "CreateContainerConfigError"
            container.waiting_message = str(error)
        self._report()
        self._sleep_until(time.monotonic() + _RETRY_SECONDS)

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
        return self._probe(container)

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
                self.pod["spec"],
                netns=network.netns,
                hostname=hostname,
                env=env,
                mounts=self._mounts.get(container.name, []),
                images=self._node.images,
            )
        except (NotYet, Unsupported, ApiError) as error:
            container.waiting_reason, container.waiting_message = "CreateContainerConfigError", str(error)
            return False
        container.launched_at = time.monotonic()
        container.started_at = timestamp()
        if container.prober is not None:
            container.prober.begin()
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

    def _probe(self, container: Container) -> float:
        prober, network = container.prober, self._network
        if prober is None or network is None or container.process is None:
            return float("inf")
        due = prober.tend(self._node.host, network.addresses[0])
        if prober.unhealthy:
            log.warning("container.unhealthy", pod=f"{self.namespace}/{self.name}", problem=prober.unhealthy)
            container.process.sigkill()
        return due

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
