"""Are the components up, Ready, and of one version?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from allocator.doctor.facts import DAEMON_SETS, DEPLOYMENTS, Facts
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.timestamps import read_time
from allocator.objects.document import Document

_RESTARTS = 5
_LATELY = timedelta(days=1)
"""A Pod that runs for long is restarted now and then, with its node for one."""


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
                "admitlb install --image IMAGE --apply; if it is in another namespace, say --admitlb-namespace",
            )
            continue
        desired, serving = _number(found, wanted), _number(found, ready)
        if serving < desired:
            said = error if serving == 0 else warning
            yield said(
                subject, f"{serving} of {desired} Pods are Ready", f"kubectl get pods {in_namespace} -l app=metallb"
            )
        elif desired == 0:
            if kind is DEPLOYMENTS:
                yield error(
                    subject, "is scaled to none", f"kubectl scale deployment {name} {in_namespace} --replicas=2"
                )
            else:
                yield error(subject, "matches no node", f"kubectl describe daemonset {name} {in_namespace}")
    for pod in facts.pods():
        yield from _pod(pod, in_namespace, facts.now)


def check_versions(facts: Facts) -> Iterator[Finding]:
    """Find Pods that run another image than the others, or another build of it."""
    images: dict[str, set[str]] = {}
    builds: dict[str, set[str]] = {}
    for pod in facts.pods():
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
            f"kubectl rollout status -n {facts.namespace} daemonset/speaker; "
            f"kubectl rollout status -n {facts.namespace} deployment/controller",
        )
    elif len(builds) > 1:
        # Nodes of several architectures show a build for each.
        listed = "; ".join(f"{build}: {', '.join(sorted(pods))}" for build, pods in sorted(builds.items()))
        yield note(
            "images",
            f"Pods run different builds of {next(iter(images))}, as of a tag that moves: {listed}",
            f"kubectl rollout restart -n {facts.namespace} daemonset/speaker deployment/controller",
        )


def _pod(pod: Document, in_namespace: str, now: datetime) -> Iterator[Finding]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield error(
                f"Pod {name}",
                f"is not scheduled: {condition.get('message') or condition.get('reason')}",
                f"kubectl describe pod {in_namespace} {name}",
            )
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        yield from _container(f"Pod {name}", container, f"{in_namespace} {name}", now)


def _container(subject: str, status: Document, pod: str, now: datetime) -> Iterator[Finding]:
    name, restarts = status.get("name"), int(status.get("restartCount") or 0)
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = (status.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        yield error(
            subject,
            f"container {name} does not run: {waiting['reason']}",
            # One that never ran has no log.
            f"kubectl logs {pod} -c {name} --previous" if restarts or ended else f"kubectl describe pod {pod}",
        )
    elif restarts >= _RESTARTS and _ended_lately(ended, now):
        yield warning(
            subject,
            f"container {name} was restarted {restarts} times, last for {ended.get('reason') or 'unknown'}",
            f"kubectl logs {pod} -c {name} --previous",
        )


def _ended_lately(terminated: Document, now: datetime) -> bool:
    try:
        return now - read_time(str(terminated.get("finishedAt") or "")) < _LATELY
    except ValueError:
        return False


def _number(document: Document, path: tuple[str, str]) -> int:
    outer, inner = path
    return int((document.get(outer) or {}).get(inner) or 0)
