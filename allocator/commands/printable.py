"""Text of documents for a terminal or a log: nothing in it moves the cursor, begins a line or is a command."""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r"^(\s*:)(?=:(?![0-9a-f:./]*$))|(?<=#)(?=#(?:vso)?\[)", re.IGNORECASE)
r"""Where runners of GitHub (`::name::`, `##[name]`) and Azure (`##vso[`) see a command; `::1/128` is none."""


def printable(text: str) -> str:
    r"""Return the text on one line: `\n` for a line feed, `\x1b` for ESC, and so on; runners see no command in it."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return _COMMAND.sub(r"\1\\", shown)
