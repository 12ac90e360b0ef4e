"""who-has listens for as long as it is asked to, however long that is."""

from __future__ import annotations

import os
import time
from typing import cast

from speaker.who_has.messages import Claimed
from speaker.who_has.wire import Wire, heard


class _Heard:
    """A wire on which one claim waits."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.write(write, b".")
        os.close(write)
        self.claim = Claimed.__new__(Claimed)

    def fileno(self) -> int:
        return self._read

    def claims(self) -> list[Claimed]:
        return [self.claim]


def test_more_seconds_than_poll_takes_are_waited_for_all_the_same() -> None:
    wire = _Heard()
    _, on, claim = next(heard([cast("Wire", wire)], until=time.monotonic() + 3e9))
    assert (cast("_Heard", on), claim) == (wire, wire.claim)
