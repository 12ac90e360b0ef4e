"""The unix sockets of this network namespace that listen or are connected, as the kernel lists them.

Asked of the kernel by netlink (net/unix/diag.c), which gives each socket's name with its length. /proc/net/unix
writes names as they are, so that a program can name a socket like a line break and the row of another one; it is read
only where the kernel has no unix_diag.
"""

from __future__ import annotations

import logging
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger("frr")

PROC = Path("/proc/net/unix")
ENCODING = "latin-1"
"""Any byte is a character of it: what programs call their sockets is up to them."""

_SECONDS = 2.0
_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP = 4, 20, 0x301
_DONE, _ERROR = 3, 2
_ESTABLISHED, _LISTEN = 1, 10
"""TCP's states, by which unix sockets are listed as well."""
_SHOW_NAME, _NAME = 1, 0
_HEADER, _MESSAGE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBIII"), struct.Struct("=HH")
_REQUEST = struct.Struct("=BBHIIIII")

_ROW = re.compile(
    # Num: RefCount Protocol Flags Type St Inode Path (net/unix/af_unix.c unix_seq_show); a path may contain blanks.
    r"[0-9a-f]{8,16}: [0-9A-F]{8} 00000000 (?P<flags>[0-9A-F]{8}) [0-9A-F]{4} (?P<state>[0-9A-F]{2}) +"
    r"(?P<inode>[0-9]{1,20}) (?P<path>.+)",
    re.DOTALL,
)
_PROC_LISTENING, _PROC_CONNECTED = 0x10000, "03"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """One socket with a path; of a connection it is the end that was accepted, which has the listener's."""

    inode: int
    path: str
    listening: bool


def read_sockets() -> list[UnixSocket]:
    """Return those with a path in a file system. Raises OSError."""
    try:
        return _asked()
    except OSError as error:
        _log.debug("the kernel lists no unix sockets by netlink (%s), and %s is read", error, PROC)
        return rows(PROC.read_bytes().decode(ENCODING))


def rows(table: str) -> list[UnixSocket]:
    """Read /proc/net/unix; what is no row is passed over."""
    return list(_rows(table))


def _rows(table: str) -> Iterator[UnixSocket]:
    for line in table.split("\n"):
        row = _ROW.fullmatch(line)
        if row is None or not row["path"].startswith("/"):
            continue
        listening = bool(int(row["flags"], 16) & _PROC_LISTENING)
        if listening or row["state"] == _PROC_CONNECTED:
            yield UnixSocket(int(row["inode"]), row["path"], listening)


def _asked() -> list[UnixSocket]:
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, 1 << _ESTABLISHED | 1 << _LISTEN, 0, _SHOW_NAME, 0, 0)
    found: list[UnixSocket] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asking:
        asking.settimeout(_SECONDS)
        asking.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            received = asking.recv(1 << 16)
            for kind, body in _parts(received, _HEADER):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "no list of unix sockets")
                _, _, state, _, inode, _, _ = _MESSAGE.unpack_from(body)
                name = dict(_parts(body[_MESSAGE.size :], _ATTRIBUTE)).get(_NAME, b"")
                if name.startswith(b"/"):
                    # The length that a program has bound by may count a zero byte at the end.
                    path = name.rstrip(b"\0").decode(ENCODING)
                    found.append(UnixSocket(inode, path, state == _LISTEN))


def _parts(received: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the body of netlink's messages, or of one's attributes: each begins with its length."""
    at = 0
    while at + header.size <= len(received):
        length, kind = header.unpack_from(received, at)[:2]
        if length < header.size:
            return
        yield kind, received[at + header.size : at + length]
        at += length + 3 & ~3
