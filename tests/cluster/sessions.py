"""The documentation's sessions on a control plane without nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.endtoend.transcripts import PROJECT, Step, steps
from tests.lab.control_plane import ControlPlane


@dataclass(frozen=True, slots=True)
class Place:
    """Where they are run."""

    control_plane: ControlPlane
    directory: Path


def commands(document: str, directory: Path) -> list[Step]:
    """Return a document's commands; what they keep in /tmp goes into a folder that no other test uses."""
    return [
        Step(step.source, step.command.replace("/tmp/", f"{directory}/"), step.shown)
        for step in steps(PROJECT / "docs" / document)
    ]
