"""The commands of `admitlb` that pages, manifests and messages name, to be compared with those there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.unit.reference.options import commands
from tests.unit.reference.words import CODE, PROSE, texts

WRITTEN: Final = (*PROSE, *CODE)

_CALL: Final = re.compile(r"(?<![\w./@:=+-])admitlb ((?:(?!&&)[^`|;()\n#>'\"])+)")
_OPTION: Final = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")
_GLOBAL: Final = frozenset({"-h", "--help", "--version"})
_WORD: Final = re.compile(r"[a-z][a-z-]*")


_known = cache(commands)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of each call of `admitlb`, as far as it goes on one line."""
    for number, line in texts(path):
        for found in _CALL.finditer(line):
            yield number, found[1].strip()


def unknown(words: str) -> str:
    """Return what a call names that does not exist; empty where all does, or where no command is named."""
    first, _, rest = words.partition(" ")
    known = _known()
    name = next((each for each in (" ".join(words.split()[:2]), first) if each in known), "")
    if not name:
        return first if _WORD.fullmatch(first) else ""
    command = known[name]
    options = {*_GLOBAL, *(text for param in command.params for text in (*param.opts, *param.secondary_opts))}
    # What follows a bare -- is another program's.
    return next((text for text in _OPTION.findall(f" {rest}".partition(" -- ")[0]) if text not in options), "")
