"""`admitlb doctor`: every check that an experienced operator makes, in one command."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from allocator import options
from allocator.commands.live import UNREACHABLE, connected
from allocator.commands.printable import printable
from allocator.doctor.bundle import bundle_of
from allocator.doctor.catalogue import CHECKS, diagnose
from allocator.doctor.finding import Finding, Severity
from allocator.kube.access import Access

FOUND = 1
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_FAILING = {
    Severity.ERROR: {Severity.ERROR},
    Severity.WARNING: {Severity.ERROR, Severity.WARNING},
    Severity.NOTE: set(Severity),
}


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--check",
    "chosen",
    type=click.Choice([check.name for check in CHECKS]),
    multiple=True,
    help="Make only this check; repeatable.",
)
@click.option(
    "--fail-on",
    type=click.Choice([str(severity) for severity in Severity]),
    default=str(Severity.WARNING),
    show_default=True,
    help="From which findings on the exit code is 1.",
)
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a report to attach to a bug, in JSON; passwords, tokens and keys are not in it.",
)
@options.lb_class
@options.take_over_foreign
@options.admitlb_namespace
@options.cluster_access
def doctor(
    output: str,
    chosen: tuple[str, ...],
    fail_on: str,
    bundle: Path | None,
    lb_class: str,
    take_over_foreign: bool,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Look for what is wrong in a live cluster, and say which command fixes it.

    It reads and never writes, and reads no Secret; a check that may not list what it needs is a warning. Exit code
    0: nothing found; 1: something found; 2: the cluster cannot be asked, no check could be made, or FILE of --bundle
    cannot be written.
    """
    from allocator.commands.cluster_facts import read_facts  # noqa: PLC0415  brings the cluster's client

    with connected(access) as cluster:
        facts = read_facts(
            cluster, namespace=admitlb_namespace, lb_class=lb_class, take_over_foreign=take_over_foreign
        )
    checks = [check for check in CHECKS if not chosen or check.name in chosen]
    findings = diagnose(facts, checks)
    made = sum(not check.unread(facts) for check in checks)
    if output == "json":
        click.echo(json.dumps(_as_json(findings, len(checks), made), indent=2))
    else:
        _show(findings, f"{made} of {len(checks)} checks made on Kubernetes {facts.kubernetes}")
    if bundle is not None:
        _write(bundle, json.dumps(bundle_of(facts, findings, version=_version()), indent=2) + "\n")
    if not made:
        sys.exit(UNREACHABLE)
    if any(finding.severity in _FAILING[Severity(fail_on)] for finding in findings):
        sys.exit(FOUND)


def _write(bundle: Path, text: str) -> None:
    try:
        bundle.write_text(text)
    except OSError as error:
        click.echo(f"Error: --bundle {bundle} cannot be written: {error.strerror}", err=True)
        sys.exit(UNREACHABLE)


def _as_json(findings: Sequence[Finding], checks: int, made: int) -> dict[str, Any]:
    return {"checks": checks, "made": made, "findings": [finding.as_json() for finding in findings]}


def _show(findings: Sequence[Finding], made: str) -> None:
    for finding in findings:
        severity = click.style(f"{finding.severity:<8}", fg=_COLOURS[finding.severity], bold=True)
        click.echo(f"{severity} {printable(f'{finding.subject}: {finding.message}')}")
        click.echo(f"         {click.style(printable(finding.remedy), dim=True)}")
    counts = Counter(finding.severity for finding in findings)
    found = ", ".join(f"{counts[severity]} {severity}{'s' * (counts[severity] > 1)}" for severity in counts)
    click.echo(f"{printable(made)}: {found or 'nothing found'}")


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return version("admitlb")
