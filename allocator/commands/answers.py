"""Admission's answers in print: as JSON, as one line a problem, as annotations of a GitHub workflow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from allocator.commands.printable import printable
from allocator.offline.input_documents import STDIN, Unreadable, UnreadableInput
from allocator.offline.replay import Answer

_FIELD = re.compile(r"\b(?:spec|metadata|status|apiVersion)(?:\.\w+|\[[^\]\n]*\])*(?=:)")
_COLOURS = {"error": "red", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class _Remark:
    level: str
    source: str
    line: int
    code: int | None
    text: str


def as_json(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Return the `documents` of the JSON output."""
    return [
        {
            "index": answer.origin.index,
            "source": answer.origin.source,
            "kind": answer.kind,
            "namespace": answer.namespace,
            "name": answer.name,
            "allowed": answer.verdict.allowed,
            "code": answer.verdict.code,
            "message": answer.verdict.message,
            "warnings": list(answer.verdict.warnings),
        }
        for answer in answers
    ]


def as_text(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield one line a problem (`file:line: error 422: what`), and a last one with the sums."""
    remarks = list(_remarks(answers))
    for remark in remarks:
        code = f" {remark.code}" if remark.code is not None else ""
        level = click.style(f"{remark.level}{code}", fg=_COLOURS[remark.level], bold=True)
        yield f"{printable(remark.source)}:{remark.line}: {level}: {printable(remark.text)}"
    denied = sum(not answer.verdict.allowed for answer in answers)
    warned = sum(remark.level == "warning" for remark in remarks)
    yield f"{_count(len(answers), 'document')} checked: {denied} denied, {_count(warned, 'warning')}"


def as_workflow_commands(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield `::error file=…,line=…::…`, which GitHub shows beside the line."""
    for remark in _remarks(answers):
        yield _command(remark.level, remark.source, remark.line, f"AdmitLB {remark.code or ''}".strip(), remark.text)


def faults_as_workflow_commands(error: UnreadableInput) -> Iterator[str]:
    """Yield the same for input that cannot be read."""
    for fault in error.faults:
        yield _command("error", fault.source, fault.line, "AdmitLB", fault.why)


def note_as_workflow_command(note: Unreadable) -> str:
    """Return the same for a document that was passed over."""
    return _command("notice", note.source, note.line, "AdmitLB", f"{note.why}; it is passed over")


def denied(answers: Iterable[Answer]) -> bool:
    """Return whether anything was denied."""
    return any(not answer.verdict.allowed for answer in answers)


def _remarks(answers: Iterable[Answer]) -> Iterator[_Remark]:
    for answer in answers:
        verdict, origin = answer.verdict, answer.origin
        if not verdict.allowed:
            yield _Remark("error", origin.source, _line(answer, verdict.message), verdict.code, verdict.message)
        for warning in verdict.warnings:
            yield _Remark("warning", origin.source, _line(answer, warning), None, warning)


def _line(answer: Answer, text: str) -> int:
    """The line of the first field the text names; messages name fields by their path."""
    named = _FIELD.search(text)
    return answer.origin.line(named[0] if named else "")


def _command(level: str, source: str, line: int | None, title: str, text: str) -> str:
    properties = {"file": "" if source == STDIN else source, "line": str(line or ""), "title": title}
    listed = ",".join(f"{key}={_escaped(value, ',:')}" for key, value in properties.items() if value)
    return f"::{level} {listed}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    """GitHub: actions/toolkit packages/core/src/command.ts escapeData, escapeProperty."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
