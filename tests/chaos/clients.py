"""Clients that create, change, share and delete Services, each with names of its own, as fast as patience allows."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound, Unavailable
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION
from tests.chaos.service_needs import CHANGED
from tests.cluster.installation import service

NAMESPACE = "default"

_NAMES = 3
_KEYS = 8
_GENERATED_GO = 0.1
"""The chance that a step deletes one of the Services made by generateName, where there is one."""
_PORTS = range(80, 86)
_PINS = "metallb.io/loadBalancerIPs"
_KEY = "metallb.io/allow-shared-ip"

Object = dict[str, Any]


class Clients:
    """`count` threads; `pinnable` are the addresses that some Services ask for by name.

    `_lock` owns `counts` and `surprises`.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        count: int,
        pinnable: list[str],
        patience_seconds: float,
        seed: int,
        ask_webhook: Callable[[Object], str],
    ) -> None:
        """`ask_webhook` sends the creation of a Service to a webhook, past the API server; returns its outcome."""
        self._cluster = cluster
        self._ask_webhook = ask_webhook
        self._pinnable = pinnable
        self._patience_seconds = patience_seconds
        self._stopping = threading.Event()
        self._let = threading.Event()
        self._let.set()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """What the API server did as asked, by kind; also how often it was away."""
        self.surprises: list[str] = []
        """Answers that no client should get."""
        self.quota = threading.Event()
        """Set while the namespace has a quota, or may have had one a moment ago: then a creation may be denied."""
        self._threads = [
            threading.Thread(
                target=self._run, args=(number, random.Random(seed + number)), name=f"client-{number}", daemon=True
            )
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what the clients have created last stays."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=60)
            if thread.is_alive():
                raise AssertionError(f"{thread.name} does not end")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no client begin a request while the block runs."""
        self._let.clear()
        try:
            yield
        finally:
            self._let.set()

    @contextmanager
    def under_quota(self) -> Iterator[None]:
        """Expect that creations are denied by a quota while the block runs."""
        self.quota.set()
        try:
            yield
        finally:
            self.quota.clear()

    def _run(self, number: int, chance: random.Random) -> None:
        names = [f"c{number}-{index}" for index in range(_NAMES)]
        generated: list[str] = []
        while not self._stopping.wait(chance.uniform(0, self._patience_seconds)):
            self._let.wait()
            name = chance.choice(names)
            try:
                self._count(self._step(name, generated, chance))
            except (NotFound, AlreadyExists, Conflict):
                self._count("came too late")
            except Unavailable:
                self._count("API server away")
            except ApiError as error:
                if error.status == HTTPStatus.FORBIDDEN and "quota" in str(error) and self.quota.is_set():
                    self._count("denied by the quota")
                    continue
                with self._lock:
                    self.surprises.append(f"{name}: {error}")

    def _step(self, name: str, generated: list[str], chance: random.Random) -> str:
        if generated and chance.random() < _GENERATED_GO:
            return self._delete(generated.pop(chance.randrange(len(generated))), chance)
        action = chance.choices(
            (
                self._create,
                self._delete,
                self._touch,
                self._change_type,
                self._change_sharing,
                self._change_pin,
                self._create_invalid,
                lambda name, chance: self._create_generated(name, generated, chance),
                self._repeat_review,
            ),
            weights=(40, 20, 10, 6, 6, 6, 6, 4, 4),
        )[0]
        return action(name, chance)

    def _create_invalid(self, name: str, chance: random.Random) -> str:
        """A creation that admission lets pass and that fails after it: its reservation has no Service."""
        unique = f"invalid-{name}-{chance.randrange(1000)}"
        ports = [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]  # several ports need names
        try:
            self._cluster.create(SERVICES, service(unique, ports=ports), NAMESPACE)
        except ApiError as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
        return "created invalid, refused after admission"

    def _create_generated(self, name: str, generated: list[str], chance: random.Random) -> str:
        body = service(name, ports=[_a_port(chance)])
        body["metadata"] = {"generateName": f"{name}-"}
        made = self._cluster.create(SERVICES, body, NAMESPACE)
        generated.append(made["metadata"]["name"])
        return "created by generateName"

    def _repeat_review(self, name: str, chance: random.Random) -> str:
        """Ask a webhook for a Service that is there or will be, as somebody who knows its path could."""
        body = service(name, ports=[_a_port(chance)])
        if chance.random() < 0.5:
            body["metadata"]["annotations"] = {ASSIGNED_IPS_ANNOTATION: chance.choice(self._pinnable)}
        return self._ask_webhook(body)

    def _create(self, name: str, chance: random.Random) -> str:
        annotations: dict[str, str] = {}
        kind = chance.choices(("plain", "sharing", "pinned"), weights=(5, 4, 1))[0]
        if kind == "sharing":
            annotations[_KEY] = _a_key(chance)
        elif kind == "pinned":
            annotations[_PINS] = chance.choice(self._pinnable)
        made = self._cluster.create(SERVICES, service(name, annotations, ports=[_a_port(chance)]), NAMESPACE)
        served = ASSIGNED_IPS_ANNOTATION in (made["metadata"].get("annotations") or {})
        return f"created {kind}, {'address known at once' if served else 'waiting'}"

    def _delete(self, name: str, _: random.Random) -> str:
        self._cluster.delete(SERVICES, name, NAMESPACE)
        return "deleted"

    def _touch(self, name: str, chance: random.Random) -> str:
        self._cluster.patch(
            SERVICES, name, {"metadata": {"labels": {"touched": str(chance.randrange(1000))}}}, NAMESPACE
        )
        return "touched"

    def _change_type(self, name: str, chance: random.Random) -> str:
        # A node port stands in the way of ClusterIP unless it goes with the type.
        ports = [{**_a_port(chance), "nodePort": None}]
        wanted = chance.choice(("ClusterIP", "LoadBalancer"))
        return self._ask(f"changed type to {wanted}", name, {}, {"type": wanted, "ports": ports})

    def _change_sharing(self, name: str, chance: random.Random) -> str:
        key = chance.choice((_a_key(chance), None))
        return self._ask("changed sharing key and port", name, {_KEY: key}, {"ports": [_a_port(chance)]})

    def _change_pin(self, name: str, chance: random.Random) -> str:
        pin = chance.choice((*chance.choices(self._pinnable, k=2), None))
        return self._ask("changed address asked for", name, {_PINS: pin}, {})

    def _ask(self, what: str, name: str, annotations: dict[str, str | None], spec: Object) -> str:
        change = {"metadata": {"annotations": {**annotations, CHANGED: "true"}}, "spec": spec}
        self._cluster.patch(SERVICES, name, change, NAMESPACE)
        return what

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def _a_key(chance: random.Random) -> str:
    return f"key-{chance.randrange(_KEYS)}"


def _a_port(chance: random.Random) -> Object:
    return {"port": chance.choice(_PORTS), "protocol": "TCP"}
