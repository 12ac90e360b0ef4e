"""Words that are not used, and the term to use in their place: CONTRIBUTING.md, "Terms"."""

from __future__ import annotations

import ast
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
    r"tak(?:es?|ing|en) stock|took stock": "initial sync",
    r"believe[sd]?|believing": "trust, accept, valid",
    r"for good|in vain": "permanently; without success",
    r"in a box": "lab cluster",
    r"goes by itself|dealt with as such": "comes back without any action; handled in the same way",
    r"deaf|dearest": "hears no other; slowest",
    r"time (?:can|will) heal|can heal": "cannot be met yet",
    r"itself well|is well|are well|be well": "healthy",
    r"at fault|in the wrong": "invalid",
    r"hearsay|rumou?rs?": "reported",
    r"newcomers?": "new node, new Service",
    r"strangers?": "foreign host, other",
    r"promise[sd]?": "annotated address",
    r"tidings|news": "event, report",
    r"twin(?:s|ned)?": "second, duplicate",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"somebody else's": "another's",
    r"tells?|told|telling": "report, return, distinguish",
    r"mirrors?|mirrored": "cache, informer",
    r"definitions?": "CRD",
    r"(?:stands?|stood|standing) still": "pause",
    r"stands?(?! (?:in|for|by)\b)|stood(?! (?:in|for|by)\b)|stands? in the way": "is, is listed, prevents",
    r"without a word|the word (?:that|to)|own word": "silently; report, message",
    r"hurry|losers?|spoken": "urgent; affected Service; sent",
    r"neglect(?:s|ed)?|suspects?": "unresponsive winner",
    r"presences?": "interface endpoint",
    r"tall(?:y|ies)|audiences?|inbox(?:es)?": "announcement metrics, ports, event queue",
    r"surroundings?": "cluster context",
    r"outlooks?|concessions?": "plan result, lost share",
    r"ripe|stirred": "releasable; capacity changed",
    r"belongs? into|at the least": "belongs in; at least",
    r"by turns|all the while|let by|ever more": "only at times; throughout; allowed; less and less",
}
"""By pattern of whole words, without regard to case."""

ALLOWED: Final = {
    ("speaker/metrics.py", "stranger"): "a value of a metric's label, which dashboards name",
    ("speaker/membership/service.py", "stranger"): "the same",
}
"""Words that stay, by file, each with the reason."""

PROSE: Final = (
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").glob("*.*"),
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
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line


_QUOTED = re.compile(r"`[^`]*`")
_NAMED = (rf"(?<![\w./-])(?P<_{number}>{words})(?![\w/-])" for number, words in enumerate(BANNED))
_PATTERN = re.compile("|".join(_NAMED), re.IGNORECASE)


def banned_words(path: Path) -> Iterator[str]:
    """Yield each banned word with its line, and what to write in its place; names in backticks are none."""
    name = str(path.relative_to(ROOT))
    for number, line in texts(path):
        for found in _PATTERN.finditer(_QUOTED.sub("", line)):
            if (name, found[0].lower()) not in ALLOWED:
                words = list(BANNED)[int(str(found.lastgroup).removeprefix("_"))]
                yield f"{name}:{number}: {found[0]!r}: {BANNED[words]}"
