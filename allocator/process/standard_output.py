"""Standard output that does not take what is written: closed early or from the start, full, short of a character."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

CANNOT_WRITE: Final = 2
CLOSED: Final = 141
"""As a shell reports a program that SIGPIPE ended: whoever read has seen enough, which is no answer of a command."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def standard_output() -> Iterator[None]:
    """Have what is written within written as far as it can be; what cannot ends the program, by one of the codes.

    Characters that the output's encoding lacks are written as escapes. Without an output nothing is written.
    """
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until the program ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except BrokenPipeError:
        _discard_the_rest()
        sys.exit(CLOSED)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _discard_the_rest()
        print(f"Error: what the command prints cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_WRITE)


def writes(text: str) -> bool:
    """Return whether standard output's encoding has every character of the text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _discard_the_rest() -> None:
    # What is still in the buffer would fail again when the interpreter ends, and change the exit code.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
