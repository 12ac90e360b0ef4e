"""Services whose status another load balancer wrote: when they are left alone, and what would change that.

MetalLB takes every such Service over. Here what another controller serves is not taken from it by an installation.
"""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.pools import Pool
from allocator.objects import names
from allocator.objects.document import Document, annotations_of
from allocator.objects.field_managers import managers_of
from allocator.objects.service import served_by_another


def left_alone(
    service: Document, *, namespace: Document | None, pools: Iterable[Pool], take_over_foreign: bool = False
) -> bool:
    """Return whether a Service of ours that holds no claim is another load balancer's.

    Its status shows only addresses of no pool, and neither it, nor its Namespace, nor the installation says that
    such a status is to be replaced. One that names our class is ours, whatever its status shows.
    """
    if take_over_foreign or (service.get("spec") or {}).get("loadBalancerClass"):
        return False
    return served_by_another(service, pools) and not to_be_taken_over(service) and not to_be_taken_over(namespace)


def why_left_alone(service: Document) -> str:
    """Say what the Service's status shows, who wrote it, and how the Service comes to be served."""
    load_balancer = (service.get("status") or {}).get("loadBalancer") or {}
    entries = load_balancer.get("ingress") or ()
    texts = (entry.get("ip") or entry.get("hostname") for entry in entries)
    shown = ", ".join(str(text) for text in texts if text)
    writers = managers_of(service, "status", "loadBalancer")
    author = f"written by {writers[0]}" if writers else "written by another controller"
    return (
        f"its status shows {shown} of no pool, {author}; it is left alone: annotate it or its Namespace "
        f'{names.TAKE_OVER_ANNOTATION}: "true" to have it served here, or remove the other controller\'s status'
    )


def to_be_taken_over(document: Document | None) -> bool:
    """Return whether a Service or Namespace says that another controller's status may be replaced."""
    return annotations_of(document).get(names.TAKE_OVER_ANNOTATION, "").strip().lower() == "true"
