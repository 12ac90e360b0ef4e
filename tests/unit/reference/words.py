"""Words that are not used, and the term to use in their place: CONTRIBUTING.md, "Terms"."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.unit.reference.kinds import ROOT

BANNED: Final = {
    r"wish(?:es|ed)?": "request",
    r"tenanc(?:y|ies)|tenures?": "holder state, simulated Service",
    r"lineages?": "claim term",
    r"contenders?|candidac(?:y|ies)": "candidate",
    r"outbox|roster": "send schedule, peer table",
    r"graves?|bur(?:y|ied|ies)": "tombstone",
    r"paper claims?|on paper": "dry run, in memory",
    r"lent|lenders?|on loan": "graceful restart",
    r"last words?": "what it reported last",
    r"deserve[sd]?": "say what is the case",
    r"unasked": "gratuitous, unsolicited",
    r"for ever|forever": "immutable, without end, until …",
    r"takes? stock": "initial sync",
    r"time (?:can|will) heal|can heal": "cannot be met yet",
    r"itself well|is well|are well|be well": "healthy",
    r"in the wrong": "invalid",
    r"at fault": "invalid",
    r"hearsay|rumou?rs?": "reported",
    r"newcomers?": "new node, new Service",
    r"strangers?": "foreign host, other",
    r"promise[sd]?": "annotated address",
    r"tidings|news": "event, report",
    r"twin(?:s|ned)?": "second, duplicate",
    r"neighbourly|courteous|polite(?:ly)?|shy": "say what it does",
    r"betters?|worse off": "higher rank",
    r"mends? itself": "is repaired",
    r"dawns?|twilight|slumber|asleep": "say what it does",
    r"somebody else's": "another's",
}
"""By pattern of whole words, without regard to case."""

ALLOWED: Final[dict[str, str]] = {}
"""Lines that may have such a word, by file and pattern: with the reason."""

PROSE: Final = (
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").glob("*"),
    *(ROOT / "kustomize").rglob("*.md"),
    *(ROOT / "kustomize").rglob("*.yaml"),
    *(ROOT / "manifests").rglob("*.yaml"),
)
CODE: Final = tuple(path for folder in ("allocator", "webhook", "speaker") for path in (ROOT / folder).rglob("*.py"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that people read: all of a page; of a module comments and strings, docstrings among them."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _READ:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


_READ = {tokenize.COMMENT, tokenize.STRING, *((tokenize.FSTRING_MIDDLE,) if hasattr(tokenize, "FSTRING_MIDDLE") else ())}
_PATTERN = re.compile("|".join(rf"\b(?P<_{n}>{words})\b" for n, words in enumerate(BANNED)), re.IGNORECASE)


def banned_words(path: Path) -> Iterator[str]:
    """Yield each banned word with its line, and what to write in its place."""
    for number, line in texts(path):
        for found in _PATTERN.finditer(line):
            words = list(BANNED)[int(str(found.lastgroup).removeprefix("_"))]
            yield f"{path.relative_to(ROOT)}:{number}: {found[0]!r}: {BANNED[words]}"
