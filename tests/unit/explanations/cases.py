"""What can be asked for and not be had, each with what is there before."""

from __future__ import annotations

from typing import Any

from allocator.core.addresses import Family
from tests.unit.commands.manifests import Object, advertisement, deleted, namespace, pool, service
from tests.unit.explanations.bgp_cases import BGP
from tests.unit.explanations.case import case

BOTH = (Family.IPV4, Family.IPV6)

FOUR = pool("four", "192.0.2.10-192.0.2.13")
ONE = pool("one", "192.0.2.10")
SIX = pool("six", "2001:db8::/64")
GOLD = pool("gold", "198.51.100.0/28", serviceAllocation={"namespaces": ["finance"]})
SELECTED = pool(
    "selected", "198.51.100.16/28", serviceAllocation={"serviceSelectors": [{"matchLabels": {"tier": "edge"}}]}
)
RESERVED = pool("reserved", "203.0.113.0/28", autoAssign=False)
EXCLUDING = pool("excluding", "192.0.2.0/28", excludeAddresses=["192.0.2.1"])
SHARED = {"allow-shared-ip": "key", "loadBalancerIPs": "192.0.2.10"}
HTTPS = [{"port": 443, "protocol": "TCP"}]


def _pinned(*addresses: str, name: str = "web", **spec: Any) -> Object:
    return service(name, annotations={"loadBalancerIPs": ",".join(addresses)}, **spec)


def _from_pool(name: str, **spec: Any) -> Object:
    return service("web", annotations={"address-pool": name}, **spec)


def _annotated(name: str, key: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": {key: "4"}}}


SERVICES = {
    "A request that contradicts itself": (
        case("not an address", FOUR, _pinned("nonsense")),
        case("leading zeros", FOUR, _pinned("192.0.2.010")),
        case("a comma without an address after it", FOUR, _pinned("192.0.2.10", "")),
        case("IPv4-mapped IPv6", FOUR, _pinned("::ffff:192.0.2.10")),
        case("two addresses of one family", FOUR, _pinned("192.0.2.10", "192.0.2.11")),
        case("annotation and spec.loadBalancerIP both set", FOUR, _pinned("192.0.2.10", loadBalancerIP="192.0.2.11")),
        case("an address of a family the Service does not have", FOUR, SIX, _pinned("2001:db8::1")),
        case(
            "RequireDualStack with one address",
            FOUR,
            SIX,
            _pinned("192.0.2.10", ipFamilyPolicy="RequireDualStack"),
            families=BOTH,
        ),
        case(
            "an address outside the requested pool",
            FOUR,
            RESERVED,
            service("web", annotations={"address-pool": "reserved", "loadBalancerIPs": "192.0.2.10"}),
        ),
        case("headless", FOUR, service("web", clusterIP="None")),
        case("a sharing key that is too long", FOUR, service("web", annotations={"allow-shared-ip": "k" * 254})),
    ),
    "A pool that is not open to the Service": (
        case("the requested pool is for other namespaces", FOUR, GOLD, _from_pool("gold")),
        case("the requested pool is for other labels", FOUR, SELECTED, _from_pool("selected")),
        case("the requested address is in a pool for other namespaces", FOUR, GOLD, _pinned("198.51.100.1")),
    ),
    "A quota": (
        case("reached", FOUR, namespace("prod", quota="1"), service("first"), service("web")),
        case(
            "reached by the second address of RequireDualStack",
            FOUR,
            SIX,
            namespace("prod", quota="1"),
            service("web", ipFamilyPolicy="RequireDualStack"),
            families=BOTH,
        ),
    ),
    "An address that another Service holds": (
        case("no sharing asked for", FOUR, service("api"), _pinned("192.0.2.10")),
        case(
            "another sharing key",
            FOUR,
            service("api", annotations=SHARED),
            service("web", annotations={**SHARED, "allow-shared-ip": "other"}, ports=HTTPS),
        ),
        case("the same port", FOUR, service("api", annotations=SHARED), service("web", annotations=SHARED)),
        case(
            "another traffic policy",
            FOUR,
            service("api", annotations=SHARED),
            service("web", annotations=SHARED, ports=HTTPS, externalTrafficPolicy="Local", selector={"app": "web"}),
        ),
        case(
            "another namespace, under externalTrafficPolicy Local",
            FOUR,
            service("api", annotations=SHARED, externalTrafficPolicy="Local", selector={"app": "x"}),
            service(
                "web",
                namespace="dev",
                annotations=SHARED,
                ports=HTTPS,
                externalTrafficPolicy="Local",
                selector={"app": "x"},
            ),
        ),
        case(
            "another namespace, in a pool that forbids it",
            pool("four", "192.0.2.10-192.0.2.13", allowCrossNamespaceSharing=False),
            service("api", annotations=SHARED),
            service("web", namespace="dev", annotations=SHARED, ports=HTTPS),
        ),
        case(
            "another namespace, that the first holder does not list",
            FOUR,
            service("api", annotations={**SHARED, "admitlb.io/allow-shared-ip-namespaces": "staging"}),
            service("web", namespace="dev", annotations=SHARED, ports=HTTPS),
        ),
        case(
            "the first holder takes a younger one's port (a warning; the younger gives way)",
            FOUR,
            service("web", annotations={"allow-shared-ip": "key"}),
            service("api", annotations={"allow-shared-ip": "key", "loadBalancerIPs": "192.0.2.10"}, ports=HTTPS),
            service("web", annotations={"allow-shared-ip": "key"}, ports=[*HTTPS, {"port": 80, "protocol": "TCP"}]),
        ),
        case(
            "a sharer changes its key and gives the address up",
            FOUR,
            service("api", annotations={"allow-shared-ip": "key"}),
            service("web", annotations={"allow-shared-ip": "key"}, ports=HTTPS),
            service("web", annotations={"allow-shared-ip": "other"}, ports=HTTPS),
        ),
        case(
            "a sharer takes the other's port and cannot go elsewhere",
            ONE,
            service("api", annotations={"allow-shared-ip": "key"}),
            service("web", annotations={"allow-shared-ip": "key"}, ports=HTTPS),
            service("web", annotations={"allow-shared-ip": "key"}),
        ),
    ),
    "What is not there, or not there yet": (
        case("no pools at all", service("web")),
        case("the requested pool does not exist", FOUR, _from_pool("fuor")),
        case("the requested address is in no pool", FOUR, GOLD, _pinned("203.0.113.99")),
        case("the requested address is excluded by its pool", EXCLUDING, _pinned("192.0.2.1")),
        case(
            "the requested address ends in .0 under avoidBuggyIPs",
            pool("careful", "192.0.2.0/28", avoidBuggyIPs=True),
            _pinned("192.0.2.0"),
        ),
        case("no pool is open to the Service", GOLD, SELECTED, RESERVED, service("web")),
        case("no pool of the Service's family", SIX, service("web")),
        case("the requested pool has no address of the family", FOUR, SIX, _from_pool("six")),
        case("every pool open to it is full", ONE, GOLD, RESERVED, service("first"), service("web")),
        case(
            "every address of the pool is excluded",
            pool("careful", "192.0.2.0/31", excludeAddresses=["192.0.2.1"], avoidBuggyIPs=True),
            service("web"),
        ),
        case("the requested pool is full", ONE, RESERVED, service("first"), _from_pool("one")),
        case(
            "the pool is full, and the address under the sharing key cannot be shared",
            ONE,
            service("api", annotations={"allow-shared-ip": "key"}),
            service("web", annotations={"allow-shared-ip": "key"}),
        ),
    ),
    "Dual stack": (
        case(
            "RequireDualStack, and only one family has a pool",
            FOUR,
            service("web", ipFamilyPolicy="RequireDualStack"),
            families=BOTH,
        ),
        case("RequireDualStack on a single-stack cluster", FOUR, service("web", ipFamilyPolicy="RequireDualStack")),
        case(
            "PreferDualStack, and only one family has a pool",
            FOUR,
            service("web", ipFamilyPolicy="PreferDualStack"),
            families=BOTH,
        ),
        case(
            "PreferDualStack, and the quota allows one address",
            FOUR,
            SIX,
            namespace("prod", quota="1"),
            service("web", ipFamilyPolicy="PreferDualStack"),
            families=BOTH,
        ),
    ),
    "A change that cannot be met keeps the old address": (
        case("another address, which is held", FOUR, service("api"), service("web"), _pinned("192.0.2.10")),
        case("another pool, which does not exist", FOUR, service("web"), _from_pool("fuor")),
        case("another pool, which is not open", FOUR, GOLD, service("web"), _from_pool("gold")),
        case(
            "RequireDualStack, and only one family has a pool",
            FOUR,
            service("web"),
            service("web", ipFamilyPolicy="RequireDualStack"),
            families=BOTH,
        ),
    ),
    "Sharing that is not as its author may think": (
        case(
            "another namespace, and nobody says whether it may (both are warned)",
            FOUR,
            service("api", annotations=SHARED),
            service("web", namespace="dev", annotations=SHARED, ports=HTTPS),
        ),
        case(
            "a sharing key, and the same port",
            FOUR,
            service("api", annotations={"allow-shared-ip": "key"}),
            service("web", annotations={"allow-shared-ip": "key"}),
        ),
        case(
            "a sharing key, and a free address came before the one to share",
            FOUR,
            service("api", annotations=SHARED | {"loadBalancerIPs": "192.0.2.12"}),
            service("web", annotations={"allow-shared-ip": "key"}, ports=HTTPS),
        ),
        case(
            "a sharing key, and only one family to share",
            FOUR,
            SIX,
            service("api", annotations={"allow-shared-ip": "key"}),
            service(
                "web",
                annotations={"allow-shared-ip": "key"},
                ports=HTTPS,
                ipFamilyPolicy="PreferDualStack",
            ),
            families=BOTH,
        ),
    ),
    "Only a warning": (
        case(
            "a sharing key under externalTrafficPolicy Local, and endpoints of its own",
            FOUR,
            service("web", annotations={"allow-shared-ip": "key"}, externalTrafficPolicy="Local"),
        ),
        case("an annotation that nobody reads", FOUR, service("web", annotations={"loadbalancerIPs": "192.0.2.10"})),
        case("an assignment written by hand", FOUR, service("web", annotations={"ip-allocated-from-pool": "gold"})),
        case(
            "a deprecated annotation",
            FOUR,
            {
                **service("web"),
                "metadata": {
                    "name": "web",
                    "namespace": "prod",
                    "annotations": {"metallb.universe.tf/address-pool": "four"},
                },
            },
        ),
        case(
            "a deprecated annotation beside the other with another value",
            FOUR,
            service("web", annotations={"address-pool": "four", "metallb.universe.tf/address-pool": "gold"}),
        ),
    ),
}
"""Of Services, by what is wrong."""

CONFIGURATION = {
    "IPAddressPool: addresses": (
        case("no addresses", pool("p")),
        case("not an address", pool("p", "nonsense")),
        case("a range that ends before it starts", pool("p", "192.0.2.9-192.0.2.1")),
        case("a range of two families", pool("p", "192.0.2.1-2001:db8::1")),
        case("not a CIDR", pool("p", "192.0.2.0/33")),
        case("an end of which only the last number is written", pool("p", "192.0.2.10-20")),
        case("several in one entry", pool("p", "192.0.2.1, 192.0.2.9")),
        case("prefix lengths in a range", pool("p", "192.0.2.1/24-192.0.2.9/24")),
        case("a range with one end", pool("p", "192.0.2.1-")),
        case("loopback", pool("p", "127.0.0.0/8")),
        case("multicast", pool("p", "224.0.0.0/8")),
        case("link-local", pool("p", "fe80::/64")),
        case("unspecified", pool("p", "0.0.0.0/0")),
        case("overlap within the pool", pool("p", "192.0.2.0/28", "192.0.2.8-192.0.2.20")),
        case("overlap with another pool", FOUR, pool("p", "192.0.2.0/24")),
        case(
            "overlap with a pool that addresses are taken from (a warning)",
            FOUR,
            pool("p", "192.0.2.0/24", addressesFrom=["four"]),
        ),
        case("addresses taken from itself", pool("p", "192.0.2.0/28", addressesFrom=["p"])),
        case("a CIDR written by an address within (a warning)", pool("p", "192.0.2.200/28")),
        case("the same, excluded (a warning)", pool("p", "192.0.2.0/24", excludeAddresses=["192.0.2.10/29"])),
        case("every address excluded (a warning)", pool("p", "192.0.2.10", excludeAddresses=["192.0.2.0/24"])),
        case("an excluded address that is none", pool("p", "192.0.2.0/28", excludeAddresses=["x"])),
    ),
    "IPAddressPool: who may have them": (
        case("negative priority", pool("p", "192.0.2.0/28", serviceAllocation={"priority": -1})),
        case("a namespace twice", pool("p", "192.0.2.0/28", serviceAllocation={"namespaces": ["a", "a"]})),
        case(
            "an operator without values",
            pool(
                "p",
                "192.0.2.0/28",
                serviceAllocation={"serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]},
            ),
        ),
        case(
            "a label key that is none",
            pool("p", "192.0.2.0/28", serviceAllocation={"namespaceSelectors": [{"matchLabels": {"bad key!": "x"}}]}),
        ),
        case(
            "another priority for the same namespace (a warning)",
            pool("ten", "192.0.2.0/28", serviceAllocation={"priority": 10, "namespaces": ["prod"]}),
            pool("p", "198.51.100.0/28", serviceAllocation={"priority": 20, "namespaces": ["prod"]}),
        ),
    ),
    "IPAddressPool: changes while Services use it": (
        case("a range taken away", FOUR, service("web"), pool("four", "192.0.2.11-192.0.2.13")),
        case(
            "an address excluded",
            FOUR,
            service("web"),
            pool("four", "192.0.2.10-192.0.2.13", excludeAddresses=["192.0.2.10"]),
        ),
        case(
            "closed to the Service's namespace",
            FOUR,
            service("web"),
            pool("four", "192.0.2.10-192.0.2.13", serviceAllocation={"namespaces": ["finance"]}),
        ),
        case("deleted", FOUR, service("web"), deleted(FOUR)),
    ),
    "IPAddressPool, L2Advertisement: where": (
        case("a pool in another namespace", pool("p", "192.0.2.0/28", namespace="default")),
        case("an advertisement in another namespace", advertisement("a", namespace="default")),
    ),
    "L2Advertisement": (
        case("a pool twice", FOUR, advertisement("a", ipAddressPools=["four", "four"])),
        case("an interface twice", FOUR, advertisement("a", interfaces=["eth0", "eth0"])),
        case(
            "the same selector twice",
            FOUR,
            advertisement("a", nodeSelectors=[{"matchLabels": {"a": "b"}}, {"matchLabels": {"a": "b"}}]),
        ),
        case("a pool that does not exist (a warning)", FOUR, advertisement("a", ipAddressPools=["four", "fuor"])),
    ),
    **BGP,
    "A kind that does not exist": (
        case("MetalLB's first", {**pool("p", "192.0.2.0/28"), "kind": "AddressPool"}),
        case("a misspelt one", {**pool("p", "192.0.2.0/28"), "kind": "IPAddresspool"}),
    ),
    "Namespace": (
        case("a quota that is no number", namespace("prod", quota="many")),
        case("a misspelt annotation (a warning)", _annotated("prod", "admitlb.io/ip-quotas")),
        case("an annotation of Services (a warning)", _annotated("prod", "metallb.io/address-pool")),
    ),
}
"""Of everything else, by kind."""
