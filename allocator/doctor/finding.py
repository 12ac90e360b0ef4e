"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is, the worst first."""

    ERROR = "error"
    """Something does not work."""
    WARNING = "warning"
    """Something works less well than it should, or will not work when something else fails."""
    NOTE = "note"
    """Worth knowing; nothing need be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: about what (`Deployment controller`), what is wrong, and the command that fixes or shows it."""

    check: str = ""
    """The check's name; whoever runs it fills it in."""
    severity: Severity
    subject: str
    message: str
    remedy: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the JSON output."""
        return {
            "check": self.check,
            "severity": str(self.severity),
            "subject": self.subject,
            "message": self.message,
            "remedy": self.remedy,
        }


def error(subject: str, message: str, remedy: str) -> Finding:
    """Return something that does not work."""
    return Finding(severity=Severity.ERROR, subject=subject, message=message, remedy=remedy)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """Return something that works less well than it should."""
    return Finding(severity=Severity.WARNING, subject=subject, message=message, remedy=remedy)


def note(subject: str, message: str, remedy: str) -> Finding:
    """Return something worth knowing."""
    return Finding(severity=Severity.NOTE, subject=subject, message=message, remedy=remedy)
