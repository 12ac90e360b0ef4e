"""Giving up privileges for good: user, groups, capabilities and the way back to any of them.

Only for a process that is about to become another program: nothing here can be undone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Collection
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2

# linux/capability.h, in the order of their numbers.
NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)

_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def can_be_anybody() -> bool:
    """Whether this process may become any user: not so in a user namespace that maps its one owner to root."""
    mapped = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
    return mapped > 65535


def give_up(
    *,
    user: int,
    group: int,
    groups: Collection[int],
    capabilities: Collection[str] | None,
    ambient: Collection[str],
    no_new_privileges: bool,
) -> None:
    """Become `user`, with no capabilities beyond `capabilities` (None: all that there are), now and after any exec.

    A user other than root has none of them once it becomes another program, as in a container, `ambient` ones
    excepted. Raises OSError.
    """
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    kept = set(range(last + 1)) if capabilities is None else {_number(name) for name in {*capabilities, *ambient}}
    for number in set(range(last + 1)) - kept:
        _prctl(PR_CAPBSET_DROP, number)
    carried = {_number(name) for name in ambient}
    _prctl(PR_SET_KEEPCAPS, 1 if carried else 0)
    if can_be_anybody():
        os.setgroups(sorted(groups))
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    effective = kept if os.geteuid() == 0 else carried
    _capset(effective=effective, inheritable=carried)
    for number in carried:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
    if no_new_privileges:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends; the kernel forgets it at any change of user."""
    _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _number(name: str) -> int:
    return NAMES.index(name)


def _capset(*, effective: Collection[int], inheritable: Collection[int]) -> None:
    masks = [sum(1 << number for number in numbers) for numbers in (effective, effective, inheritable)]
    words = [mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in masks]
    header = struct.pack("Ii", _VERSION_3, 0)
    if _libc.capset(header, struct.pack("6I", *words)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "capset")


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, *[0] * (4 - len(arguments)))]
    if _libc.prctl(option, *words) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"prctl {option} {arguments}")
