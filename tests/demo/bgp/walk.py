"""The steps of the demo of BGP, in order. The routers' kernels and a client behind them are the witnesses."""

from __future__ import annotations

import time
from collections.abc import Sequence

from allocator.objects import names
from tests.demo.facts import external_ips
from tests.demo.narration import Narrator, expect
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.outage import OutageMeter, Report
from tests.lab.pod_status import PODS
from tests.lab.route_monitor import RouteMonitor
from tests.lab.routers import BIRD, FRR, Routers, lost
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS

_OVERLAY = "kustomize/overlays/bgp"
_CONFIGURATION = "tests/demo/bgp/configuration.yaml"
_SERVICES = "tests/demo/bgp/services.yaml"
_NEAR, _FAR = "203.0.113.60", "198.51.100.0"
_URL = f"http://{_FAR}/"
_SECONDS = 60.0
_REQUESTS_PER_SECOND = 200.0
_UNDISTURBED_SECONDS = 1.0
_CUT_LIMIT_MS = 3000.0
"""On an idle machine it is under one second: BFD, 300 ms three times."""

BACKENDS = ("node-2", "node-3")
"""Where the application runs, so that node-1 can go without an endpoint going."""


class BgpWalk:
    """The demo on a lab that has just started, with routers beside it."""

    def __init__(self, lab: Lab, routers: Routers, narrator: Narrator) -> None:
        self._lab = lab
        self._routers = routers
        self._say = narrator

    def all_steps(self) -> None:
        """Take every step. Raises DoesNotHold at the first that fails."""
        step = self._say.step
        with step("Install AdmitLB with FRR on every node"):
            self._install()
        with step("Two pools, one for the LAN and one for the routers"):
            self._configure()
        with step("A Service becomes a route at both routers"):
            self._announce()
        with step("A client behind the routers is answered, by all nodes"):
            self._ask()
        with step("All speakers are killed: the routers hear nothing of it"):
            self._kill_speakers()
        with step("FRR of a node is renewed: the node leaves as planned"):
            self._renew_frr()
        with step("A node is cut off: BFD notices"):
            self._cut(self._lab.node("node-1"))

    def _install(self) -> None:
        begun = time.monotonic()
        created = self._lab.kubectl("apply", "-k", _OVERLAY).stdout.splitlines()
        self._say.command(f"kubectl apply -k {_OVERLAY}", f"[{len(created)} objects created]")
        self._lab.install(_OVERLAY)
        self._lab.wait_rolled_out(DAEMON_SETS, "frr")
        self._kubectl("get", "pods", "-n", names.DEFAULT_NAMESPACE, "-o", "wide")
        self._say.measured("AdmitLB and FRR ready after", f"{time.monotonic() - begun:.1f} s")

    def _configure(self) -> None:
        begun = time.monotonic()
        self._kubectl("apply", "-f", _CONFIGURATION)
        wait_until(
            lambda: all(up == self._nodes for up in self._routers.established().values()), _SECONDS, "sessions"
        )
        self._say.measured("every node has a session with both routers after", f"{time.monotonic() - begun:.1f} s")
        self._say.command("birdc show protocols", self._routers.bird.ask("show protocols"))

    def _announce(self) -> None:
        self._lab.ensure_namespace("production")
        for number, node in enumerate(BACKENDS, start=1):
            self._lab.deploy_http(f"web-{number}", "production", node=node, labels={"tier": "web"})
        hosts = self._routers.hosts
        with RouteMonitor(hosts[BIRD]) as at_bird, RouteMonitor(hosts[FRR]) as at_frr:
            begun = time.monotonic()
            self._kubectl("apply", "-f", _SERVICES)
            for name, monitor in (("BIRD", at_bird), ("FRR", at_frr)):
                (first, *_) = monitor.wait_since(begun, _SECONDS)
                seconds = first.at - begun
                self._say.measured(
                    f"route at the {name} router after kubectl apply began", f"{seconds * 1000:.0f} ms"
                )
            self._wait_routes(self._nodes)
        for name, address in (("near", _NEAR), ("far", _FAR)):
            found = wait_until(
                lambda name=name: external_ips(self._lab, "production", name),  # type: ignore[misc]
                _SECONDS,
                f"{name} has its address",
            )
            expect(found == [address], f"{name} has {found}")
        self._kubectl("get", "services", "-n", "production")
        for router in (BIRD, FRR):
            shown = hosts[router].run("ip", "route", "show", f"{_FAR}/32").stdout
            self._say.command(f"ip route show {_FAR}/32   # on {hosts[router].name}", shown)
        self._say.holds(f"both routers spread {_FAR} over {len(self._nodes)} nodes")

    def _ask(self) -> None:
        answers = [self._routers.http_get(_URL) for _ in range(40)]
        expect({answer.status for answer in answers} == {200}, "not every request was answered")
        backends = {answer.json["node"] for answer in answers}
        expect(backends == set(BACKENDS), f"answered by {backends}")
        self._say.holds(
            f"40 of 40 requests from {self._routers.client.name} are answered, from {', '.join(backends)}"
        )
        near = wait_until(
            lambda: self._lab.client().http_get(f"http://{_NEAR}/"), _SECONDS, "layer 2", retry_on=(OSError,)
        )
        macs = self._lab.client().who_has(_NEAR)
        expect(near.status == 200 and len(macs) == 1, f"{_NEAR} is answered for by {macs}")
        self._say.holds(f"beside it {_NEAR} is answered for by one node on the LAN, at {', '.join(macs)}")

    def _kill_speakers(self) -> None:
        hosts = self._routers.hosts
        with RouteMonitor(hosts[BIRD]) as at_bird, RouteMonitor(hosts[FRR]) as at_frr, self._outage() as meter:
            for pod in self._pods("speaker"):
                self._lab.kill_component(pod, "speaker")
            self._lab.wait_rolled_out(DAEMON_SETS, "speaker")
            time.sleep(3 * _UNDISTURBED_SECONDS)
        changes = [change for monitor in (at_bird, at_frr) for change in monitor.changes]
        expect(not changes, f"routes changed: {changes}")
        self._say.holds("no route has changed at either router")
        self._count("while all speakers were killed and came back", meter.report)

    def _renew_frr(self) -> None:
        pod = self._pods("frr", node="node-1")[0]
        self._say.tell(f"The client asks {_REQUESTS_PER_SECOND:.0f} times a second, each time with a new connection.")
        hosts = self._routers.hosts
        with RouteMonitor(hosts[BIRD]) as at_bird, RouteMonitor(hosts[FRR]) as at_frr, self._outage() as meter:
            begun = time.monotonic()
            self._say.command(f"kubectl delete pod {pod} -n metallb-system", "")
            self._lab.cluster().delete(PODS, pod, names.DEFAULT_NAMESPACE)
            self._wait_routes(self._nodes - {self._lab.node("node-1").addresses[0]})
            gone = time.monotonic() - begun
            self._wait_routes(self._nodes)
            back = time.monotonic() - begun
            time.sleep(_UNDISTURBED_SECONDS)
        self._say.measured("the node is out of both routers' tables after", f"{gone:.1f} s")
        self._say.measured("and back in them after", f"{back:.1f} s")
        lines = [line for line in self._lab.logs(pod, "frr").splitlines() if "lea" in line or "left" in line]
        self._say.command(f"kubectl logs {pod}", "\n".join(lines))
        self._count("while FRR of node-1 was renewed", meter.report, (at_bird, at_frr))

    def _cut(self, node: Node) -> None:
        hosts = self._routers.hosts
        with RouteMonitor(hosts[BIRD]) as at_bird, RouteMonitor(hosts[FRR]) as at_frr, self._outage() as meter:
            time.sleep(_UNDISTURBED_SECONDS)
            cut = node.cut()
            self._wait_routes(self._nodes - {node.addresses[0]})
            time.sleep(3 * _UNDISTURBED_SECONDS)
        for name, monitor in (("BIRD", at_bird), ("FRR", at_frr)):
            after = (monitor.since(cut)[0].at - cut) * 1000
            self._say.measured(f"{name} router sends nothing more to the dead node after", f"{after:.0f} ms")
        report = meter.report
        ended = [failure.started for failure in report.failures]
        lasted = (max(ended) - cut) * 1000 if ended else 0.0
        self._say.tell(f"client: {report.summary()}")
        self._say.measured("last request to fail began after the cut", f"{lasted:.0f} ms")
        expect(lasted < _CUT_LIMIT_MS, f"requests failed for longer than {_CUT_LIMIT_MS:.0f} ms")
        node.heal()
        self._wait_routes(self._nodes)
        self._say.holds("healed, the node is in both routers' tables again")

    @property
    def _nodes(self) -> set[str]:
        return {node.addresses[0] for node in self._lab.nodes.values()}

    def _wait_routes(self, expected: set[str]) -> None:
        for router in (BIRD, FRR):
            wait_until(
                lambda router=router: self._routers.next_hops(router, f"{_FAR}/32") == expected,  # type: ignore[misc]
                _SECONDS,
                f"{router} sends {_FAR} to {sorted(expected)}",
                interval_seconds=0.02,
            )

    def _outage(self) -> OutageMeter:
        return self._routers.outage(_URL, rate_per_second=_REQUESTS_PER_SECOND)

    def _count(self, when: str, report: Report, monitors: Sequence[RouteMonitor] = ()) -> None:
        failed = lost(report, monitors)
        if moved := len(report.failures) - len(failed):
            self._say.measured("connections under way that a router moved to another node", str(moved))
        self._say.measured(f"requests lost {when}", f"{len(failed)} of {report.requests}")
        expect(not failed, report.summary())

    def _pods(self, component: str, *, node: str | None = None) -> list[str]:
        found = self._lab.pods(names.DEFAULT_NAMESPACE, f"app=metallb,component={component}")
        return [pod["metadata"]["name"] for pod in found if node in (None, pod["spec"]["nodeName"])]

    def _kubectl(self, *arguments: str) -> None:
        done = self._lab.kubectl(*arguments)
        self._say.command(f"kubectl {' '.join(arguments)}", done.stdout + done.stderr)
