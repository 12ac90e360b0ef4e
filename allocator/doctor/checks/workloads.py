"""Are the components up, Ready, and of one version?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from allocator.doctor.facts import DAEMON_SETS, DEPLOYMENTS, PODS, Facts
from allocator.doctor.finding import Finding, error, note, warning
from allocator.objects.document import Document

_RESTARTS = 5


def check_workloads(facts: Facts) -> Iterator[Finding]:
    """Find workloads that are missing or not Ready, Pods that fail, and restarts."""
    in_namespace = f"-n {facts.namespace}"
    for kind, name, wanted, ready in (
        (DEPLOYMENTS, "controller", ("spec", "replicas"), ("status", "readyReplicas")),
        (DAEMON_SETS, "speaker", ("status", "desiredNumberScheduled"), ("status", "numberReady")),
    ):
        subject = f"{kind.kind} {name}"
        found = facts.named(kind, name)
        if found is None:
            yield error(
                subject,
                f"is not there in namespace {facts.namespace}",
                "kubectl apply -k kustomize/overlays/default; if AdmitLB is elsewhere, say --admitlb-namespace",
            )
            continue
        desired, serving = _number(found, wanted), _number(found, ready)
        if serving < desired:
            said = error if serving == 0 else warning
            yield said(
                subject, f"{serving} of {desired} Pods are Ready", f"kubectl get pods {in_namespace} -l app=metallb"
            )
        elif desired == 0:
            yield error(
                subject,
                "has no Pods to run" if kind is DEPLOYMENTS else "matches no node",
                f"kubectl describe {kind.kind.lower()} {name} {in_namespace}",
            )
    for pod in _ours(facts):
        yield from _pod(pod, in_namespace)


def check_versions(facts: Facts) -> Iterator[Finding]:
    """Find Pods that run another image than the others, or another build of it."""
    images: dict[str, set[str]] = {}
    builds: dict[str, set[str]] = {}
    for pod in _ours(facts):
        ids = {
            one.get("name"): one.get("imageID") for one in (pod.get("status") or {}).get("containerStatuses") or ()
        }
        for container in (pod.get("spec") or {}).get("containers") or ():
            if "admitlb" in (container.get("command") or ()):
                images.setdefault(str(container.get("image")), set()).add(pod["metadata"]["name"])
                if build := ids.get(container.get("name")):
                    builds.setdefault(str(build), set()).add(pod["metadata"]["name"])
    if len(images) > 1:
        listed = "; ".join(f"{image}: {', '.join(sorted(pods))}" for image, pods in sorted(images.items()))
        yield warning(
            "images",
            f"Pods run different images: {listed}",
            f"kubectl rollout status -n {facts.namespace} daemonset/speaker deployment/controller",
        )
    elif len(builds) > 1:
        # Nodes of several architectures show a build for each.
        listed = "; ".join(f"{build}: {', '.join(sorted(pods))}" for build, pods in sorted(builds.items()))
        yield note(
            "images",
            f"Pods run different builds of {next(iter(images))}: {listed}",
            "kubectl rollout restart the older ones; a tag that moves is a different image on each node",
        )


def _pod(pod: Document, in_namespace: str) -> Iterator[Finding]:
    name = pod["metadata"]["name"]
    statuses: Iterable[Document] = (pod.get("status") or {}).get("containerStatuses") or ()
    for status in statuses:
        container = status.get("name")
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            previous = " --previous" if status.get("restartCount") else ""
            yield error(
                f"Pod {name}",
                f"container {container} does not run: {waiting['reason']}",
                f"kubectl logs {in_namespace} {name} -c {container}{previous}",
            )
        elif int(status.get("restartCount") or 0) >= _RESTARTS:
            ended = ((status.get("lastState") or {}).get("terminated") or {}).get("reason") or "unknown"
            yield warning(
                f"Pod {name}",
                f"container {container} was restarted {status['restartCount']} times, last for {ended}",
                f"kubectl logs {in_namespace} {name} -c {container} --previous",
            )


def _ours(facts: Facts) -> list[Document]:
    return [one for one in facts.installed(PODS) if (one["metadata"].get("labels") or {}).get("app") == "metallb"]


def _number(document: Document, path: tuple[str, str]) -> int:
    outer, inner = path
    return int((document.get(outer) or {}).get(inner) or 0)
