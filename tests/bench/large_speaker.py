"""The process that `speaker_scale` measures; its last line of output is what it found, as JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address, Family
from allocator.kube.reflector import Reflector, identity
from allocator.kube.resource import ENDPOINT_SLICES_V1, LEASES, NODES, SERVICES
from allocator.objects.names import IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.process import logs
from speaker import controller as controller_module
from speaker import layer2
from speaker.cluster.state import View
from speaker.controller import Controller
from speaker.election.election import rank
from speaker.event_queue import EventQueue
from speaker.garbage import settle_garbage
from speaker.layer2.announcer import Announcer
from speaker.layer2.interface_endpoint import InterfaceEndpoint
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim, ReceivedState, SentState
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.status.reporter import Reporter
from tests.bench import large_cluster as documents
from tests.bench.memory import resident_megabytes
from tests.lab.waiting import wait_until

_OWN, _VICTIM = "node-000", "node-001"
_VICTIMS_ADDRESSES = 50
_QUIET_SECONDS = 0.15
_TICK_SECONDS = 0.005
_CHANGES_PER_SECOND = 60


class TimedQueue(EventQueue[Any]):
    """Notes how long the controller was away between two looks at it, by its processor time, in ms."""

    away: float = 0.0
    _left: float | None = None

    def take(self, *args: Any, **named: Any) -> Any:
        """Take an event."""
        if self._left is not None:
            TimedQueue.away = max(TimedQueue.away, 1000 * (time.thread_time() - self._left))
        taken = super().take(*args, **named)
        self._left = time.thread_time()
        return taken


class Wire:
    """Both sides of an interface that is not there, for a family; notes when the first frame is handed to it."""

    def __init__(self) -> None:
        self.first_frame: float | None = None

    def announce(self, address: Address) -> bool:  # noqa: ARG002
        """Take a frame."""
        if self.first_frame is None:
            self.first_frame = time.monotonic()
        return True

    def __getattr__(self, name: str) -> Callable[..., bool]:
        return lambda *_, **__: True


class Neighbours:
    """The heartbeats and the writers of Events and statuses: they take what they are handed."""

    def __init__(self) -> None:
        self.decided = 0.0
        self.decided_at = 0.0
        self.renewed_leases = 0

    def advertise(self, state: AdvertisedState) -> None:  # noqa: ARG002
        """Note when that was."""
        self.decided, self.decided_at = time.thread_time(), time.monotonic()

    def renewed(self, node: str, *, hears: int) -> None:  # noqa: ARG002
        """Count."""
        self.renewed_leases += 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Speakers:
    """What the other speakers advertise, received as it is received from heartbeats."""

    def __init__(self, names: Sequence[str], claims: Mapping[str, Iterable[Address]]) -> None:
        self.names = names
        self.alive = set(names)
        self._sent = {name: SentState() for name in names}
        self._received = {name: ReceivedState() for name in names}
        for number, name in enumerate(names):
            links = _links(number)
            claimed = {address: Claim(term=1) for address in claims[name]}
            self._advertise(name, AdvertisedState(claims=claimed, links=links, hears=frozenset(names) - {name}))

    def claim(self, name: str, address: Address) -> None:
        """Have a speaker claim an address more."""
        state = self._sent[name].state
        claims = {**state.claims, address: Claim(term=1)}
        self._advertise(name, AdvertisedState(claims=claims, links=state.links, hears=state.hears))

    def liveness(self) -> Liveness:
        """What is known of them."""
        others = frozenset(self.alive) - {_OWN}
        return Liveness(
            alive=frozenset(self.alive),
            heard=others,
            steady=others,
            states={name: received.state for name, received in self._received.items() if name != _OWN},
            sides=dict.fromkeys(self.names, len(self.names)),
        )

    def _advertise(self, name: str, state: AdvertisedState) -> None:
        sent, received = self._sent[name], self._received[name]
        sent.advertise(state)
        for chunk in sent.since(received.version):
            received.take(chunk)


class LargeSpeaker:
    """One node's speaker without its sockets, in a cluster where every address has its holder."""

    def __init__(self, services: int, nodes: int) -> None:
        self.services, self.nodes = services, nodes
        self.random = Random(1)
        self.cluster = documents.LargeCluster(services, nodes)
        self.wire, self.around = Wire(), Neighbours()
        metrics = SpeakerMetrics(CollectorRegistry())
        wire: Any = self.wire
        around: Any = self.around
        sides = dict.fromkeys(Family, wire)
        self.announcer = Announcer(
            packets=around, open_endpoint=lambda *_: InterfaceEndpoint(sides, sides), metrics=metrics
        )
        vars(controller_module)["EventQueue"] = TimedQueue
        self.controller = Controller(
            node=_OWN,
            view=View(),
            announcer=self.announcer,
            peers=around,
            hosts=around,
            reports=Reporter(node=_OWN, events=around, statuses=around),
            metrics=metrics,
            protocol=layer2.PROTOCOL,
            on_known=settle_garbage,
        )
        watched = (SERVICES, ENDPOINT_SLICES_V1, NODES, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, LEASES)
        served: Any = self.cluster
        self._reflectors = [
            Reflector(served, resource, kept=identity, on_change=self.controller.on_change) for resource in watched
        ]
        own = [
            Interface(
                index=index,
                name=link.name,
                mac=link.mac,
                subnets=frozenset(link.subnets),
                default_route=link.default_route,
            )
            for index, link in enumerate(_links(0))
        ]
        self.announcer.set_interfaces(own)
        self.announcer.start()
        self.controller.start()
        self.controller.on_interfaces(own)
        for reflector in self._reflectors:
            reflector.start()
        for reflector in self._reflectors:
            reflector.wait_synced()
        self.controller.on_synced()
        self.speakers = Speakers([f"node-{number:03}" for number in range(nodes)], self._holders())
        self.controller.on_liveness(self.speakers.liveness())
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        used, since = _others_seconds(), time.monotonic()
        while time.monotonic() - since < _QUIET_SECONDS:
            time.sleep(0.01)
            now = _others_seconds()
            if now - used > 0.0002:
                used, since = now, time.monotonic()

    def cost(self, act: Callable[[], None]) -> float:
        """Return the processor time of all threads for what follows from an event, in ms."""
        self.settle()
        before = _others_seconds()
        act()
        self.settle()
        return 1000 * (_others_seconds() - before)

    def away(self, act: Callable[[], None]) -> tuple[float, float]:
        """Return the longest time that the controller takes no event, and until all is done, in ms."""
        self.settle()
        TimedQueue.away, began = 0.0, time.monotonic()
        act()
        self.settle()
        return TimedQueue.away, 1000 * (time.monotonic() - began - _QUIET_SECONDS)

    def die(self) -> tuple[float, float]:
        """Have the victim die; return the processor time of deciding, and the time until the first frame, in ms."""
        self.settle()
        self.wire.first_frame = None
        self.speakers.alive.discard(_VICTIM)
        TimedQueue.away = 0.0
        began = time.monotonic()
        self.controller.on_liveness(self.speakers.liveness())
        wait_until(lambda: self.wire.first_frame is not None, 30, "a frame is sent", interval_seconds=0.001)
        self.settle()
        decided = TimedQueue.away
        frame = 1000 * ((self.wire.first_frame or 0.0) - began)
        self.speakers.alive.add(_VICTIM)
        self.controller.on_liveness(self.speakers.liveness())
        self.settle()
        return decided, frame

    def new_service(self, number: int) -> None:
        """A Service comes, with its endpoints."""
        self.cluster.put(SERVICES, documents.service(number), "ADDED")
        self.cluster.put(ENDPOINT_SLICES_V1, documents.endpoint_slice(number, self.nodes), "ADDED")

    def churn(self, seconds: float) -> int:
        """Let a bit of everything happen; return how many changes there were."""
        changes, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            number, other = self.random.randrange(self.services), self.random.randrange(self.nodes)
            match self.random.randrange(10):
                case 0 | 1:
                    self.cluster.put(SERVICES, documents.service(number))
                case 2 | 3:
                    self.cluster.put(ENDPOINT_SLICES_V1, documents.endpoint_slice(number, self.nodes))
                case 4 | 5 | 6:
                    self.cluster.put(LEASES, documents.lease(other, renewed=changes))
                case 7:
                    self.cluster.put(NODES, documents.node(other, labels={"changed": str(changes % 3)}))
                case 8:
                    self.cluster.put(SERVICES, documents.service(number), "DELETED")
                    self.cluster.put(SERVICES, documents.service(number), "ADDED")
                case 9:
                    self.speakers.claim(f"node-{other or 1:03}", documents.address_of(self.services + changes % 500))
                    self.controller.on_liveness(self.speakers.liveness())
            changes += 1
            time.sleep(1 / _CHANGES_PER_SECOND)
        return changes

    def _holders(self) -> dict[str, list[Address]]:
        """Every address is with the node that comes first; but the victim has those of this node."""
        names = [f"node-{number:03}" for number in range(self.nodes)]
        claims: dict[str, list[Address]] = {name: [] for name in names}
        for number in range(self.services):
            address = documents.address_of(number)
            serving = names
            if number % 4 == 0:
                serving = sorted({names[number % self.nodes], names[number * 2 % self.nodes]})
            first, *others = rank(address=address, candidates=serving)
            if first == _OWN:
                first = _VICTIM if _VICTIM in serving else next(iter(others), _OWN)
            elif first == _VICTIM and others:
                first = others[0] if others[0] != _OWN else others[-1]
            claims[first].append(address)
        claims[_VICTIM] = claims[_VICTIM][:_VICTIMS_ADDRESSES]
        return claims


class Stops:
    """Wakes every few milliseconds in a thread of its own, and notes when it could not."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> list[tuple[float, float]]:
        """Return from when to when nothing ran."""
        self._stopping.set()
        self._thread.join()
        return self.found

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            time.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if now - last > 2 * _TICK_SECONDS:
                self.found.append((last + _TICK_SECONDS, now))
            last = now


def _watch_alone(pipe: Connection) -> None:
    stops = Stops()
    pipe.recv()
    pipe.send(stops.end())


def longest_stop(act: Callable[[], None]) -> tuple[float, float]:
    """Return the longest stop of this process, less those of an idle one, and that one's longest, in ms."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    idle = context.Process(target=_watch_alone, args=(there,), daemon=True)
    idle.start()
    time.sleep(1.0)
    stops = Stops()
    act()
    own = stops.end()
    here.send("end")
    theirs: list[tuple[float, float]] = here.recv()
    idle.join()

    def remaining(begin: float, end: float) -> float:
        return end - begin - sum(max(0.0, min(end, until) - max(begin, since)) for since, until in theirs)

    longest = max((remaining(*stop) for stop in own), default=0.0)
    return 1000 * longest, 1000 * max((end - begin for begin, end in theirs), default=0.0)


def _links(number: int) -> tuple[Link, ...]:
    mac = bytes((2, 0, 0, 0, number // 256, number % 256))
    return (
        Link(name="eth0", mac=mac, subnets=(Subnet.parse(documents.LAN),), default_route=True),
        Link(name="cni0", mac=mac, subnets=(Subnet.parse(f"100.{64 + number // 256}.{number % 256}.0/24"),)),
    )


def _others_seconds() -> float:
    """The processor time of all threads but this one."""
    used = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != threading.get_native_id():
            try:
                used += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                continue
    return used / 1e9


def _measure(speaker: LargeSpeaker, rounds: int, churn_seconds: float) -> dict[str, Any]:
    cluster, speakers, controller = speaker.cluster, speaker.speakers, speaker.controller
    processor: dict[str, list[float]] = {}
    deaf: dict[str, list[float]] = {}
    done: dict[str, list[float]] = {}
    found: dict[str, Any] = {"processor": processor, "deaf": deaf, "done": done, "changes": 0}

    def put_liveness(act: Callable[[], None]) -> None:
        act()
        controller.on_liveness(speakers.liveness())

    def costs(what: str, act: Callable[[int], None]) -> None:
        processor[what] = [speaker.cost(lambda number=number: act(number)) for number in range(rounds)]  # type: ignore[misc]

    def is_away(what: str, *acts: Callable[[], None]) -> None:
        pairs = [speaker.away(acts[number % len(acts)]) for number in range(rounds)]
        deaf[what], done[what] = map(list, zip(*pairs, strict=True))

    costs("one new Service", lambda number: speaker.new_service(speaker.services + 4 * number + 1))
    costs("a node's label changes", lambda number: cluster.put(NODES, documents.node(5, labels={"n": str(number)})))
    costs(
        "a node is no longer Ready, and is again",
        lambda number: cluster.put(NODES, documents.node(6, ready=number % 2 == 1)),
    )
    cluster.put(NODES, documents.node(6))
    costs("a node's Lease is renewed", lambda number: cluster.put(LEASES, documents.lease(7, renewed=number + 1)))
    costs(
        "another node claims one address more",
        lambda number: put_liveness(
            lambda: speakers.claim("node-008", documents.address_of(speaker.services + 4 * number + 1))
        ),
    )
    costs(
        "a pool that has no Service changes",
        lambda number: cluster.put(IP_ADDRESS_POOLS, documents.pool("other", f"10.65.{number}.0/24")),
    )
    died = [speaker.die() for _ in range(rounds)]
    found["died processor"], found["died frame"] = map(list, zip(*died, strict=True))

    def put(*spec: Any, kind: str = "MODIFIED", name: str = "lan") -> Callable[[], None]:
        return lambda: cluster.put(L2_ADVERTISEMENTS, documents.advertisement(name, **dict(*spec)), kind)

    lan = {"ipAddressPools": ["lan"]}
    is_away("an advertisement's interfaces change, for all", put({**lan, "interfaces": ["eth0"]}), put(lan))
    is_away(
        "an advertisement more covers all", put({}, kind="ADDED", name="more"), put({}, kind="DELETED", name="more")
    )
    is_away("the only advertisement goes, and comes", put(lan, kind="DELETED"), put(lan, kind="ADDED"))
    if rounds % 2:
        put(lan, kind="ADDED")()
    speaker.settle()
    found["memory"] = resident_megabytes(os.getpid())
    if churn_seconds:

        def churn() -> None:
            found["changes"] = speaker.churn(churn_seconds)

        found["stop"], found["stop of the other"] = longest_stop(churn)
        found["memory after churn"] = resident_megabytes(os.getpid())
    return found


def main(services: int, nodes: int, rounds: int, churn_seconds: float) -> None:
    """Measure, and print what was found."""
    logs.configure("info")
    writing = logs.write_in_background()
    speaker = LargeSpeaker(services, nodes)
    found = _measure(speaker, rounds, churn_seconds) if rounds else {"memory": resident_megabytes(os.getpid())}
    print(json.dumps(found), flush=True)
    logs.flush()
    del writing
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
