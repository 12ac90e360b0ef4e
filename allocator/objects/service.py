"""Services as requests: what a Service document asks for, and what it shows it has.

A request that contradicts itself is an InvalidDocument; admission answers it 422, the reconciler an Event.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from allocator.core import limits
from allocator.core.addresses import Address, AddressError, Family, quoted
from allocator.core.claims import Port
from allocator.core.pools import Applicant, Pool
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.sharing import ANY_NAMESPACE
from allocator.objects import names
from allocator.objects.annotations import annotation_value, first_annotation
from allocator.objects.document import Document, InvalidDocument, Problems, annotations_of, labels_of
from allocator.objects.namespace import quota_of
from allocator.objects.service_limits import backend_key, check_headless, check_limits, fitting, fitting_ports

_PINS = 16
"""As many addresses are read; two are of use, and a list of thousands is no request."""
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SHOWN: Final = 63
_LEGACY_ANNOTATIONS: Final = (
    names.ADDRESS_POOL_ANNOTATIONS[1],
    names.LOAD_BALANCER_IPS_ANNOTATIONS[1],
    names.ALLOW_SHARED_IP_ANNOTATIONS[1],
)


def wants_address(service: Document | None, *, lb_class: str = "") -> bool:
    """Return whether the Service is ours to serve: type LoadBalancer and of our class.

    MetalLB: internal/k8s/controllers/service_controller.go filterByLoadBalancerClass.
    """
    spec = (service or {}).get("spec") or {}
    return spec.get("type") == "LoadBalancer" and (spec.get("loadBalancerClass") or "") == lb_class


def request_from(
    service: Document,
    *,
    namespace: Document | None = None,
    cluster_families: Sequence[Family] = (Family.IPV4,),
    status_addresses: tuple[Address, ...] = (),
) -> ServiceRequest:
    """Read what the Service asks for. Raises InvalidDocument.

    `namespace` is the Namespace the Service is in (None when it is not known); `cluster_families` (primary first)
    stands in where the API server has not set the families yet; `status_addresses` is what its status lists.
    """
    problems = Problems()
    metadata, spec = service["metadata"], service.get("spec") or {}
    policy = _policy(spec, problems)
    local = spec.get("externalTrafficPolicy") == "Local"
    _, pool_name = first_annotation(service, names.ADDRESS_POOL_ANNOTATIONS)
    pins = _pins(service, problems)
    sharing_namespaces = _sharing_namespaces(service, problems)
    _check_families(spec, problems)
    check_headless(spec, problems)
    check_limits(service, problems)
    problems.raise_if_any()
    return ServiceRequest(
        applicant=Applicant(metadata["namespace"], labels_of(namespace), labels_of(service), quota_of(namespace)),
        name=metadata.get("name") or "",
        generate_name=metadata.get("generateName") or "",
        uid=metadata.get("uid"),
        ports=ports_of(service),
        sharing_key=sharing_key_of(service),
        backend_key=backend_key(spec.get("selector")) if local else "",
        sharing_namespaces=sharing_namespaces,
        local_traffic=local,
        families=_families(spec, policy, tuple(cluster_families)),
        policy=policy,
        pins=pins,
        pool_name=pool_name,
        status_addresses=status_addresses,
        annotated_addresses=addresses_in_annotation(service),
        recorded_pools=recorded_pools(service),
    )


def readable_request(
    service: Document,
    *,
    namespace: Document | None = None,
    cluster_families: Sequence[Family] = (Family.IPV4,),
) -> ServiceRequest:
    """Read what a stored Service asks for; where that cannot be read, a request to keep what it has, saying why."""
    try:
        return request_from(
            service,
            namespace=namespace,
            cluster_families=cluster_families,
            status_addresses=addresses_in_status(service),
        )
    except InvalidDocument as error:
        return identity_from(service, namespace=namespace, malformed=str(error))


def identity_from(service: Document, *, namespace: Document | None = None, malformed: str = "") -> ServiceRequest:
    """Read who the Service is and what its status shows, as a request that asks for nothing. Raises nothing.

    What exceeds a claim's limits is shortened: what the Service has is claimed whatever it asks for.

    `malformed` says why what it asks for cannot be read, where that is so.
    """
    metadata, spec = service["metadata"], service.get("spec") or {}
    local = spec.get("externalTrafficPolicy") == "Local"
    return ServiceRequest(
        applicant=Applicant(metadata["namespace"], labels_of(namespace), labels_of(service)),
        name=metadata.get("name") or "",
        generate_name=metadata.get("generateName") or "",
        uid=metadata.get("uid"),
        ports=fitting_ports(ports_of(service)),
        sharing_key=sharing_key_of(service),
        backend_key=backend_key(spec.get("selector")) if local else "",
        sharing_namespaces=_sharing_namespaces(service, Problems()),
        local_traffic=local,
        status_addresses=addresses_in_status(service),
        annotated_addresses=addresses_in_annotation(service),
        recorded_pools=recorded_pools(service),
        malformed=malformed,
    )


def sharing_key_of(service: Document) -> str:
    """Return the key under which the Service shares addresses, empty without one.

    One that is too long for a claim, which admission refuses and MetalLB did not, is replaced by its digest.
    """
    _, key = first_annotation(service, names.ALLOW_SHARED_IP_ANNOTATIONS)
    return fitting(key or "", limits.SHARING_KEY_CHARACTERS)


def ports_of(service: Document) -> frozenset[Port]:
    """Return the Service's ports as sharers may collide on them."""
    ports: Iterable[Document] = (service.get("spec") or {}).get("ports") or ()
    return frozenset(Port(port.get("protocol") or "TCP", port["port"]) for port in ports)


def addresses_in_status(service: Document | None) -> tuple[Address, ...]:
    """Return the addresses status.loadBalancer.ingress lists, in its order; hostnames are passed over."""
    status = (service or {}).get("status") or {}
    ingress: Iterable[Document] = (status.get("loadBalancer") or {}).get("ingress") or ()
    return _readable(entry.get("ip") for entry in ingress)


def shown_of_its_own(service: Document, *, lb_class: str, held: Collection[Address]) -> tuple[Address, ...]:
    """Return which addresses in its status are claimed for the Service, whatever it asks for; `held` are its claims'.

    One of another class is secured too, or another would be given the address it shows; but for what we assigned
    it ourselves while it was ours, which is taken back.
    """
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return ()
    shown = addresses_in_status(service)
    if wants_address(service, lb_class=lb_class):
        return shown
    return tuple(address for address in shown if address not in held)


def showing(
    service: Document, addresses: tuple[Address, ...], *, lb_class: str, namespace: Document | None
) -> ServiceRequest:
    """Return the Service as a request that asks for nothing and shows these of its addresses. Raises nothing."""
    identity = identity_from(service, namespace=namespace)
    if wants_address(service, lb_class=lb_class):
        return identity
    # Only in a pool of ours: what anybody annotates on a Service of another class says nothing.
    return replace(identity, status_addresses=addresses, recorded_pools=())


def shown_by_another_class(service: Document) -> set[Address]:
    """Return what a Service that is not ours to serve shows and we did not assign it while it was ours."""
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return set()
    return set(addresses_in_status(service)) - set(addresses_in_annotation(service))


def served_by_another(service: Document, pools: Iterable[Pool]) -> bool:
    """Return whether status shows what neither we nor MetalLB can have assigned (MetalLB takes such Services over).

    Only for Services that hold no claim.
    """
    status = service.get("status") or {}
    ingress: Iterable[Document] = (status.get("loadBalancer") or {}).get("ingress") or ()
    if not any(entry.get("ip") or entry.get("hostname") for entry in ingress):
        return False
    if any(name in annotations_of(service) for name in names.OUTPUT_ANNOTATIONS):
        return False
    shown = addresses_in_status(service)
    return not any(pool.spans(address) for pool in pools for address in shown)


def recorded_pools(service: Document | None) -> tuple[str, ...]:
    """Return the pools that our annotation, which is MetalLB's too, says the addresses come from.

    What is longer than a pool's name, anybody wrote.
    """
    listed = annotations_of(service).get(names.FROM_POOL_ANNOTATION, "").split(",")
    return tuple(name.strip() for name in listed if 0 < len(name.strip()) <= limits.POOL_CHARACTERS)


def addresses_in_annotation(service: Document | None) -> tuple[Address, ...]:
    """Return the addresses our own annotation lists, at most two; a hint only, since anybody can write it."""
    return _readable(annotations_of(service).get(names.ASSIGNED_IPS_ANNOTATION, "").split(",", 2)[:2])


def _readable(texts: Iterable[str | None]) -> tuple[Address, ...]:
    found = []
    for text in texts:
        if not text:
            continue
        try:
            found.append(Address.parse(text))
        except AddressError:
            continue
    return tuple(found)


def deprecated_annotations(service: Document) -> list[str]:
    """List the legacy `metallb.universe.tf/` keys the Service uses."""
    annotations = annotations_of(service)
    return [key for key in _LEGACY_ANNOTATIONS if (annotations.get(key) or "").strip()]


def _sharing_namespaces(service: Document, problems: Problems) -> frozenset[str] | None:
    """Namespaces whose Services may share the Service's address, `*` for all; None where it does not say.

    Where it says what cannot be read, it allows none but what can.
    """
    key = names.SHARING_NAMESPACES_ANNOTATION
    text = annotation_value(service, key)
    if not text:
        return None
    listed = frozenset(part.strip() for part in text.split(",") if part.strip())
    own = frozenset((service["metadata"]["namespace"],))
    if len(listed) > limits.SHARING_NAMESPACES:
        problems.add(
            f"metadata.annotations[{key}]",
            f"lists {len(listed)} namespaces; write at most {limits.SHARING_NAMESPACES}, or * for all",
        )
        return own
    unreadable = sorted(name for name in listed - {ANY_NAMESPACE} if not _NAMESPACE.fullmatch(name))
    for name in unreadable:
        problems.add(
            f"metadata.annotations[{key}]",
            f"{name[:_SHOWN]!r} is not a namespace; write names, comma-separated, or * for all",
        )
    return (listed - frozenset(unreadable) or own) if listed else None


def _pins(service: Document, problems: Problems) -> tuple[Address, ...]:
    key, listed = first_annotation(service, names.LOAD_BALANCER_IPS_ANNOTATIONS)
    field_text = ((service.get("spec") or {}).get("loadBalancerIP") or "").strip()
    if listed and field_text:
        problems.add(
            "spec.loadBalancerIP", f"{field_text} is set beside annotation {key}: {listed}; keep only one of the two"
        )
        return ()
    path = f"metadata.annotations[{key}]" if listed else "spec.loadBalancerIP"
    texts = listed.split(",") if listed else [field_text] if field_text else []
    if len(texts) > _PINS:
        problems.add(path, f"lists {len(texts)} addresses; name at most one IPv4 and one IPv6 address")
        return ()
    if listed and not all(text.strip() for text in texts):
        problems.add(path, f"{quoted(listed)} has an empty entry; remove the comma")
        texts = [text for text in texts if text.strip()]
    pins = (problems.read(path, lambda text=text: Address.parse(text)) for text in texts)  # type: ignore[misc]
    return tuple(pin for pin in pins if pin is not None)


def _policy(spec: Document, problems: Problems) -> FamilyPolicy:
    text = spec.get("ipFamilyPolicy") or FamilyPolicy.SINGLE
    try:
        return FamilyPolicy(text)
    except ValueError:
        problems.add("spec.ipFamilyPolicy", f"{text!r} is unknown; use one of {', '.join(FamilyPolicy)}")
        return FamilyPolicy.SINGLE


def _check_families(spec: Document, problems: Problems) -> None:
    for index, text in enumerate(spec.get("ipFamilies") or ()):
        if text not in list(Family):
            problems.add(f"spec.ipFamilies[{index}]", f"{text!r} is unknown; use {' or '.join(Family)}")


def _families(spec: Document, policy: FamilyPolicy, cluster: tuple[Family, ...]) -> tuple[Family, ...]:
    """The families the Service can use: its clusterIPs say so for certain, else its spec, else the cluster.

    MetalLB: internal/ipfamily ForService reads the clusterIPs alone, which admission does not have yet.
    """
    listed = tuple(Family(family) for family in spec.get("ipFamilies") or ())
    assigned = _readable(spec.get("clusterIPs") or [spec.get("clusterIP")])
    if assigned:
        return tuple(dict.fromkeys(address.family for address in assigned))
    if policy is FamilyPolicy.SINGLE:
        return listed[:1] or cluster[:1]
    second = tuple(family for family in cluster if family not in listed)
    if policy is FamilyPolicy.REQUIRE_DUAL and len(listed) == 1:
        return listed + second
    if policy is FamilyPolicy.PREFER_DUAL and len(cluster) < 2:
        return listed[:1] or cluster
    return listed + second
