"""Names that users, manifests and other components see: groups, kinds, annotations, labels."""

from __future__ import annotations

from allocator.kube.resource import Resource

IP_ADDRESS_POOLS = Resource("metallb.io", "v1beta1", "ipaddresspools", "IPAddressPool")
L2_ADVERTISEMENTS = Resource("metallb.io", "v1beta1", "l2advertisements", "L2Advertisement")
CONFIGURATION_STATES = Resource("metallb.io", "v1beta1", "configurationstates", "ConfigurationState")
SERVICE_L2_STATUSES = Resource("metallb.io", "v1beta1", "servicel2statuses", "ServiceL2Status")
BGP_PEERS = Resource("metallb.io", "v1beta2", "bgppeers", "BGPPeer")
BGP_ADVERTISEMENTS = Resource("metallb.io", "v1beta1", "bgpadvertisements", "BGPAdvertisement")
BFD_PROFILES = Resource("metallb.io", "v1beta1", "bfdprofiles", "BFDProfile")
COMMUNITIES = Resource("metallb.io", "v1beta1", "communities", "Community")
SERVICE_BGP_STATUSES = Resource("metallb.io", "v1beta1", "servicebgpstatuses", "ServiceBGPStatus")
BGP_NODE_STATUSES = Resource("admitlb.io", "v1alpha1", "bgpnodestatuses", "BGPNodeStatus")
BGP_KINDS = (BGP_PEERS, BGP_ADVERTISEMENTS, BFD_PROFILES, COMMUNITIES)
"""Those that users write."""
ADVERTISEMENT_KINDS = (L2_ADVERTISEMENTS, BGP_ADVERTISEMENTS)
"""Those that say which pools' addresses are announced."""
IP_ALLOCATIONS = Resource("admitlb.io", "v1alpha1", "ipallocations", "IPAllocation", namespaced=False)

DEFAULT_NAMESPACE = "metallb-system"
WEBHOOK_CONFIGURATION = "metallb-webhook-configuration"
WEBHOOK_SERVICE = "metallb-webhook-service"
WEBHOOK_CERTIFICATE_SECRET = "metallb-webhook-cert"  # noqa: S105  the object's name, not its content
SPEAKER_KEY_SECRET = "memberlist"  # noqa: S105  MetalLB's name for the speakers' shared key
SPEAKER_KEY_FIELD = "secretkey"
RECONCILER_LEASE = "admitlb-reconciler"
ADOPTED_ANNOTATION = "admitlb.io/existing-services-adopted"
"""On the reconciler's Lease once a leader has claimed every address that Services showed before us."""

FROM_POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool"
ASSIGNED_IPS_ANNOTATION = "admitlb.io/assigned-ips"
ORIGINAL_POOL_ANNOTATION = "admitlb.io/original-pool"
"""The pools that the assigned addresses were given from, one for each, where others contain them now."""
OUTPUT_ANNOTATIONS = (FROM_POOL_ANNOTATION, ASSIGNED_IPS_ANNOTATION, ORIGINAL_POOL_ANNOTATION)

ADDRESS_POOL_ANNOTATIONS = ("metallb.io/address-pool", "metallb.universe.tf/address-pool")
LOAD_BALANCER_IPS_ANNOTATIONS = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")
ALLOW_SHARED_IP_ANNOTATIONS = ("metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip")
QUOTA_ANNOTATION = "admitlb.io/ip-quota"
SHARING_NAMESPACES_ANNOTATION = "admitlb.io/allow-shared-ip-namespaces"
TAKE_OVER_ANNOTATION = "admitlb.io/take-over"
LEGACY_FROM_POOL_ANNOTATION = "metallb.universe.tf/ip-allocated-from-pool"
"""What MetalLB before 0.14.9 wrote."""
ANNOTATION_PREFIXES = ("metallb.io/", "metallb.universe.tf/", "admitlb.io/")
SERVICE_ANNOTATIONS = (
    *ADDRESS_POOL_ANNOTATIONS,
    *LOAD_BALANCER_IPS_ANNOTATIONS,
    *ALLOW_SHARED_IP_ANNOTATIONS,
    SHARING_NAMESPACES_ANNOTATION,
    TAKE_OVER_ANNOTATION,
    *OUTPUT_ANNOTATIONS,
    LEGACY_FROM_POOL_ANNOTATION,
)
"""Every key under these prefixes that has a meaning on a Service."""

NAMESPACE_ANNOTATIONS = (QUOTA_ANNOTATION, TAKE_OVER_ANNOTATION)
"""What is read on a Namespace."""
MOVE_TO_NODE_ANNOTATION = "admitlb.io/move-to-node"
"""On an IPAllocation: the node that is to announce its address. The reconciler removes it."""
MOVING_LABEL = "admitlb.io/moving"
"""On an IPAllocation with that annotation, so that speakers need to watch no others."""

EXCLUDE_FROM_LB_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
OUT_OF_SERVICE_TAINT = "node.kubernetes.io/out-of-service"
SPEAKER_LEASE_PREFIX = "speaker-"
HEARTBEAT_ADDRESSES_ANNOTATION = "admitlb.io/heartbeat-addresses"
"""On a speaker's Lease: where its heartbeats are to be sent, the first for choice, comma-separated."""
HEARD_SPEAKERS_ANNOTATION = "admitlb.io/heard-speakers"
"""On a speaker's Lease: how many other speakers it had heard, both ways, for long when it was written."""
SPEAKER_SUBNETS_ANNOTATION = "admitlb.io/subnets"
"""On a speaker's Lease: the subnets of its interfaces that can announce, comma-separated."""
SPEAKER_RANKING_ANNOTATION = "admitlb.io/announce-from"
"""On a speaker's Lease: whether it ranks nodes by the address's subnet; one that says nothing does."""
RANKED_BY_SUBNET = "subnet"
RANKED_ALIKE = "any"
