"""IPAllocation objects as claims, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from allocator.core import limits
from allocator.core.addresses import Address
from allocator.core.claims import NO_METADATA, Claim, ClaimState, ForeignHost, Holder, Port
from allocator.core.listing import listed
from allocator.core.pools import ShrinkPolicy
from allocator.kube.timestamps import read_time, write_time
from allocator.objects import names
from allocator.objects.document import Document
from allocator.objects.service_limits import fitting, fitting_ports

Stored = dict[str, Any]
_SHARERS_LISTED = 20
_OTHERS = ("labels", "annotations", "finalizers", "ownerReferences")
"""Of metadata what we do not write here: a whole object is written, and what is left out would be lost."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def claim_from(document: Document) -> Claim:
    """Read a stored IPAllocation. The name, not spec.address, says which address it locks. Raises AddressError.

    Whatever else it says, it is the lock: one whose spec cannot be read is in use and lists no holder.
    """
    address = Address.from_claim_name(document["metadata"]["name"])
    try:
        return _claim_at(address, document)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Claim(
            address=address,
            pool="",
            state=ClaimState.BOUND,
            holders=(),
            version=document["metadata"]["resourceVersion"],
            others_metadata=_others_metadata(document),
        )


def _claim_at(address: Address, document: Document) -> Claim:
    spec = document["spec"]
    # Keys are written with the holders where these differ: then who has none shares with nobody.
    apart = any(holder.get("sharingKey") for holder in spec["holders"])
    key = "" if apart else spec.get("sharingKey") or ""
    return Claim(
        address=address,
        pool=spec["pool"],
        state=ClaimState(spec["state"]),
        holders=tuple(_holder_from(holder, key) for holder in spec["holders"]),
        original_pool=spec.get("originalPool") or "",
        reassign=spec.get("shrinkPolicy") == ShrinkPolicy.REASSIGN,
        released_at=spec.get("releasedAt") or "",
        foreign_host=_foreign_host_from(spec.get("foreignHost")),
        conflicted_at=spec["since"] if spec["state"] == ClaimState.CONFLICTED else "",
        version=document["metadata"]["resourceVersion"],
        others_metadata=_others_metadata(document),
    )


def _others_metadata(document: Document) -> Mapping[str, object]:
    metadata = document["metadata"]
    return {key: metadata[key] for key in _OTHERS if metadata.get(key)} or NO_METADATA


def document_of(claim: Claim, *, now: datetime, reuse_delay: timedelta = timedelta()) -> Stored:
    """Write a claim as an IPAllocation; its `version`, if any, makes the write a compare-and-swap.

    A cooling claim cools from its `released_at` for `reuse_delay`; the last holders stay listed meanwhile.
    """
    metadata: Stored = {"name": claim.address.claim_name, **claim.others_metadata}
    if claim.version:
        metadata["resourceVersion"] = claim.version
    apart = any(holder.sharing_key != claim.sharing_key for holder in claim.holders)
    spec: Stored = {
        "address": str(claim.address),
        "pool": claim.pool,
        "state": str(claim.state),
        "holders": [_holder_document(holder, now, with_key=apart) for holder in claim.holders],
    }
    since = claim.conflicted_at or write_time(now)
    spec["since"] = min((holder["since"] for holder in spec["holders"]), default=since)
    if claim.foreign_host is not None:
        spec["foreignHost"] = _foreign_host_document(claim.foreign_host)
    if claim.original_pool:
        spec["originalPool"] = claim.original_pool
    if claim.reassign:
        spec["shrinkPolicy"] = str(ShrinkPolicy.REASSIGN)
    if len(claim.holders) > 1:
        spec["sharedWith"] = listed((holder.label for holder in claim.holders[1:]), limit=_SHARERS_LISTED)
    if claim.sharing_key:
        spec["sharingKey"] = claim.sharing_key
    if claim.state is ClaimState.COOLING:
        released = moment_of(claim.released_at) if claim.released_at else now
        spec["releasedAt"] = write_time(released)
        spec["coolUntil"] = write_time(released + reuse_delay)
    kind = names.IP_ALLOCATIONS
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def cool_until(document: Document) -> datetime | None:
    """Return when a cooling IPAllocation may be deleted; None when it does not cool."""
    spec = document.get("spec") or {}
    if spec.get("state") != ClaimState.COOLING:
        return None
    return moment_of(spec.get("coolUntil") or spec.get("releasedAt") or "")


def moment_of(text: str) -> datetime:
    """Read a moment somebody wrote; unreadable ones are long ago, so that what carries them is released."""
    try:
        moment = read_time(text)
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _foreign_host_from(document: Document | None) -> ForeignHost | None:
    if not document:
        return None
    return ForeignHost(
        mac=document["hardwareAddress"],
        node=document.get("node") or "",
        interface=document.get("interface") or "",
    )


def _foreign_host_document(host: ForeignHost) -> Stored:
    optional = {"node": host.node, "interface": host.interface}
    return {"hardwareAddress": host.mac, **{key: value for key, value in optional.items() if value}}


def _holder_from(document: Document, sharing_key: str) -> Holder:
    # An earlier release had no limits: what exceeds them is read as it would be written now, or no write would pass.
    backend_key = fitting(document.get("backendKey") or "", limits.BACKEND_KEY_CHARACTERS)
    ports = (Port(port["protocol"], port["port"]) for port in document.get("ports") or ())
    listed = document.get("allowSharedIPNamespaces")
    return Holder(
        namespace=document["namespace"],
        name=document.get("name") or "",
        uid=document.get("uid") or None,
        generate_name=document.get("generateName") or "",
        ports=fitting_ports(ports),
        sharing_key=fitting(document.get("sharingKey") or sharing_key, limits.SHARING_KEY_CHARACTERS),
        # An earlier release wrote no policy: there a backend key says Local.
        local_traffic=document.get("externalTrafficPolicy", "Local" if backend_key else "Cluster") == "Local",
        backend_key=backend_key,
        sharing_namespaces=frozenset(listed) if listed else None,
        since=document.get("since") or "",
    )


def _holder_document(holder: Holder, now: datetime, *, with_key: bool) -> Stored:
    # No field is ever written empty: Kubernetes 1.20 takes "" in a list for null, and refuses it.
    document: Stored = {"namespace": holder.namespace, "since": holder.since or write_time(now)}
    optional = {
        "name": holder.name,
        "uid": holder.uid,
        "generateName": holder.generate_name,
        "sharingKey": holder.sharing_key if with_key else "",
        "backendKey": holder.backend_key,
        "allowSharedIPNamespaces": sorted(holder.sharing_namespaces or ()),
    }
    document.update({key: value for key, value in optional.items() if value})
    if holder.local_traffic:
        document["externalTrafficPolicy"] = holder.traffic_policy
    document["ports"] = [{"protocol": port.protocol, "port": port.number} for port in sorted(holder.ports)]
    return document
