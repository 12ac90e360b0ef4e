"""The steps of the demo, in order. Each shows something, checks it, and where it makes sense measures it."""

from __future__ import annotations

import time

import yaml
from scapy.layers.l2 import ARP

from allocator.objects import names
from tests.demo.facts import (
    Wanted,
    announcers,
    excerpt,
    external_ips,
    find,
    gratuitous,
    holders,
    sole_announcer,
)
from tests.demo.narration import Narrator, expect
from tests.lab.capture import ETH_P_ARP
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

_SPEAKS = {"metallb/external-speaker": "true", "metallb/internal-speaker": "true"}
NODE_LABELS = {"node-1": _SPEAKS, "node-2": _SPEAKS, "node-3": {}}
"""What the configuration's node selectors ask for. The applications run on node-3, so they outlive a speaker."""

_OVERLAY = "kustomize/overlays/default"
_CONFIGURATION = "tests/guide/complete-production-configuration-example.yaml"
_OVERLAPPING = "tests/demo/overlapping-pool.yaml"
_SERVICES = "tests/demo/services.yaml"
_SUCCESSOR = "tests/demo/successor.yaml"

_WANTED = (
    Wanted("production", "web", "203.0.113.10", "external-production", "eth0"),
    Wanted("production", "api", "10.10.10.100", "internal-production", "eth1"),
    Wanted("development", "preview", "10.20.20.100", "development", "eth1"),
)
_WEB = _WANTED[0]

_REQUESTS_PER_SECOND = 200.0
_UNDISTURBED_SECONDS = 0.5
_OUTAGE_LIMIT_MS = 2000.0
_STATUS_SECONDS = 10.0
_TAKEOVER_SECONDS = 10.0
_REPAIR_SECONDS = 60.0


class Walk:
    """The demo on a lab that has just started; `all_steps` raises DoesNotHold at the first step that fails."""

    def __init__(self, lab: Lab, narrator: Narrator) -> None:
        self._lab = lab
        self._client = lab.client()
        self._say = narrator

    def all_steps(self) -> None:
        """Take every step."""
        step = self._say.step
        with step("Install AdmitLB with kustomize"):
            self._install()
        with step("Apply a published production configuration, unchanged"):
            self._configure()
        with step("A pool that overlaps another is refused at `kubectl apply`"):
            self._refuse_overlap()
        with step("A Service leaves admission with its address"):
            self._create_services()
        with step("The addresses show up as EXTERNAL-IP"):
            self._show_addresses()
        with step("Exactly one node answers ARP for each address"):
            self._ask_the_wire()
        with step("HTTP through the addresses and kube-proxy"):
            self._ask_the_applications()
        with step("The announcing node dies"):
            dead = self._kill_announcer()
        with step("The node comes back"):
            self._revive(dead)
        with step("A deleted Service gives its address back"):
            self._release()

    def _install(self) -> None:
        begun = time.monotonic()
        created = self._lab.kubectl("apply", "-k", _OVERLAY).stdout.splitlines()
        self._say.command(f"kubectl apply -k {_OVERLAY}", f"[{len(created)} objects created]")
        self._lab.install(_OVERLAY)
        self._kubectl("get", "pods", "-n", names.DEFAULT_NAMESPACE, "-o", "wide")
        self._say.measured("AdmitLB ready after", f"{time.monotonic() - begun:.1f} s")

    def _configure(self) -> None:
        self._kubectl("apply", "-f", _CONFIGURATION)
        wait_until(
            lambda: all("status" in pool for pool in self._lab.cluster().list(names.IP_ADDRESS_POOLS)["items"]),
            _STATUS_SECONDS,
            "every pool is counted",
        )
        self._kubectl("get", "ipaddresspools", "-n", names.DEFAULT_NAMESPACE)

    def _refuse_overlap(self) -> None:
        done = self._lab.kubectl("apply", "-f", _OVERLAPPING, check=False)
        self._say.command(f"kubectl apply -f {_OVERLAPPING}", done.stdout + done.stderr)
        expect(done.returncode != 0, "the overlapping pool was accepted")
        expect("external-production" in done.stderr, "the message does not name the pool it overlaps with")
        stored = find(self._lab, names.IP_ADDRESS_POOLS, "too-greedy", names.DEFAULT_NAMESPACE)
        expect(stored is None, "the overlapping pool was stored")
        self._say.holds("refused, naming the pool in the way; nothing was stored")

    def _create_services(self) -> None:
        for name, namespace in (("web", "production"), ("preview", "development")):
            (pod,) = self._lab.deploy_http(name, namespace, node="node-3")
            self._say.tell(f"backend {namespace}/{pod['metadata']['name']} is ready on node-3")
        begun = time.monotonic()
        printed = self._lab.kubectl("apply", "-f", _SERVICES, "-o", "yaml").stdout
        milliseconds = (time.monotonic() - begun) * 1000
        services = yaml.safe_load(printed)["items"]
        self._say.command(f"kubectl apply -f {_SERVICES} -o yaml", excerpt(services))
        for service, wanted in zip(services, _WANTED, strict=True):
            annotations = service["metadata"]["annotations"]
            given = annotations.get(names.ASSIGNED_IPS_ANNOTATION), annotations.get(names.FROM_POOL_ANNOTATION)
            expect(given == (wanted.address, wanted.pool), f"{wanted.name} left admission with {given}")
        self._say.tell("Two pools are open to production/api; the lower priority number, 90, is tried before 100.")
        self._say.measured("kubectl apply of three Services, addresses included", f"{milliseconds:.0f} ms")

    def _show_addresses(self) -> None:
        for wanted in _WANTED:
            self._wait_assigned(wanted)
        self._kubectl("get", "services", "-A")
        self._kubectl("get", "ipallocations")
        for wanted in _WANTED:
            held_by = holders(self._lab, wanted.address)
            expect(held_by == [(wanted.namespace, wanted.name)], f"{wanted.address} is held by {held_by}")
        self._say.holds("each address is one object, held by one Service")

    def _ask_the_wire(self) -> None:
        for wanted in _WANTED:
            node, mac = sole_announcer(self._lab, wanted)
            expect(node.name != "node-3", "node-3 answers, which no L2Advertisement selects")
            self._say.holds(f"{wanted.address} is at {mac} ({node.name}); nobody else answers")

    def _ask_the_applications(self) -> None:
        for wanted in _WANTED:
            answer = self._client.http_get(wanted.url)
            expect(answer.status == 200, f"{wanted.url} answered {answer.status}")
            took = f"{answer.seconds * 1000:.1f} ms"
            self._say.holds(f"{wanted.url} answered by {answer.json['pod']} on {answer.json['node']} in {took}")

    def _kill_announcer(self) -> Node:
        say = self._say
        dying, old_mac = sole_announcer(self._lab, _WEB)
        say.tell(f"{dying.name} announces {_WEB.address}. The client asks {_REQUESTS_PER_SECOND:.0f} times a second,")
        say.tell("with a new connection each time. Now the node's cables and processes go at one instant.")
        meter = self._client.outage(_WEB.url, rate_per_second=_REQUESTS_PER_SECOND)
        with self._client.capture(_WEB.interface, ethertype=ETH_P_ARP) as capture, meter:
            time.sleep(_UNDISTURBED_SECONDS)
            killed = dying.kill()
            frame = wait_until(
                lambda: gratuitous(capture.frames, _WEB.address, since=killed),
                _TAKEOVER_SECONDS,
                f"gratuitous ARP for {_WEB.address}",
            )
            self._wait_answers(_WEB)
            time.sleep(_UNDISTURBED_SECONDS)
        arp = frame.packet()[ARP]
        say.tell(f"on the wire: gratuitous ARP, {arp.psrc} is-at {arp.hwsrc}")
        successor, mac = sole_announcer(self._lab, _WEB)
        expect(arp.hwsrc.lower() == mac, f"{arp.hwsrc} was announced, but {mac} answers")
        say.holds(f"{successor.name} has taken {_WEB.address} over ({old_mac} -> {mac})")
        gap = meter.report.longest_gap
        say.tell(f"client: {meter.report.summary()}")
        expect(gap.ended < meter.report.ended, "HTTP did not come back")
        say.measured("gratuitous ARP after the node's death", f"{(frame.at - killed) * 1000:.0f} ms")
        say.measured("longest time the client went without an answer", f"{gap.milliseconds:.0f} ms")
        expect(gap.milliseconds < _OUTAGE_LIMIT_MS, f"the outage is longer than {_OUTAGE_LIMIT_MS:.0f} ms")
        return dying

    def _revive(self, node: Node) -> None:
        node.revive()
        for workload in ("deployment/controller", "daemonset/speaker"):
            self._kubectl("rollout", "status", workload, "-n", names.DEFAULT_NAMESPACE, "--timeout=60s")
        wait_until(
            lambda: len(announcers(self._lab, _WEB)) == 1,
            _TAKEOVER_SECONDS,
            f"exactly one node answers for {_WEB.address}",
        )
        announcer, mac = sole_announcer(self._lab, _WEB)
        self._say.holds(f"still exactly one node answers for {_WEB.address}: {announcer.name} ({mac})")

    def _release(self) -> None:
        begun = time.monotonic()
        self._kubectl("delete", "service", _WEB.name, "-n", _WEB.namespace)
        wait_until(lambda: not holders(self._lab, _WEB.address), _REPAIR_SECONDS, f"{_WEB.address} is released")
        milliseconds = (time.monotonic() - begun) * 1000
        self._say.measured("address given back after kubectl delete began", f"{milliseconds:.0f} ms")
        wait_until(lambda: not announcers(self._lab, _WEB), _TAKEOVER_SECONDS, f"nobody answers for {_WEB.address}")
        self._say.holds(f"nobody answers ARP for {_WEB.address} any more")
        self._say.tell("It cools for its pool's reuse delay, but whoever asks for it by name may have it at once:")
        self._kubectl("get", "ipallocations", _WEB.address)
        self._kubectl("apply", "-f", _SUCCESSOR)
        successor = Wanted("production", "successor", _WEB.address, _WEB.pool, _WEB.interface)
        self._wait_assigned(successor)
        self._kubectl("get", "ipallocations", _WEB.address)
        self._wait_answers(successor)
        self._say.holds(f"{successor.url} answers for its new owner")

    def _wait_assigned(self, wanted: Wanted) -> None:
        wait_until(
            lambda: external_ips(self._lab, wanted.namespace, wanted.name) == [wanted.address],
            _STATUS_SECONDS,
            f"{wanted.namespace}/{wanted.name} shows {wanted.address} as EXTERNAL-IP",
        )

    def _wait_answers(self, wanted: Wanted) -> None:
        wait_until(
            lambda: self._client.http_get(wanted.url).status == 200,
            _TAKEOVER_SECONDS,
            f"{wanted.url} answers",
            retry_on=(OSError,),
        )

    def _kubectl(self, *arguments: str) -> None:
        done = self._lab.kubectl(*arguments)
        self._say.command(f"kubectl {' '.join(arguments)}", done.stdout + done.stderr)
