"""A container runtime's default seccomp profile, loaded by libseccomp as the runtime does it.

Only for a process that is about to become another program: what is loaded cannot be unloaded.
"""

from __future__ import annotations

import ctypes
import json
import platform
from collections.abc import Collection
from pathlib import Path
from typing import Any

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_OPERATORS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


class SeccompFilter:
    """What `profile` (in the format of Docker and Podman) allows a process with these capabilities."""

    def __init__(self, profile: Path, capabilities: Collection[str]) -> None:
        """Prepare the filter. Raises OSError where libseccomp is missing or refuses a rule."""
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        document = json.loads(profile.read_text())
        otherwise = _ERRNO | int(document.get("defaultErrnoRet", 1))
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))
        held = {f"CAP_{name}" for name in capabilities}
        for rule in document["syscalls"]:
            action = _ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else _ERRNO | int(rule.get("errnoRet", 1))
            if action != otherwise and _applies(rule, held):
                for name in rule["names"]:
                    self._add(action, name, rule.get("args") or [])

    def load(self) -> None:
        """Put the calling process, and all it becomes, under the filter. Raises OSError."""
        self._checked(self._library.seccomp_load(self._filter), "seccomp_load")

    def _add(self, action: int, name: str, arguments: list[dict[str, Any]]) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # of another architecture
        comparisons = (_Comparison * len(arguments))(
            *(
                _Comparison(each["index"], _OPERATORS[each["op"]], each["value"], each.get("valueTwo", 0))
                for each in arguments
            )
        )
        result = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(arguments)), comparisons
        )
        self._checked(result, f"seccomp rule for {name}")

    def _checked(self, result: int, what: str) -> None:
        if result != 0:
            raise OSError(-result, what)


def _applies(rule: dict[str, Any], held: Collection[str]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    machine = _MACHINES.get(platform.machine(), platform.machine())
    return (
        set(includes.get("caps", ())) <= set(held)
        and machine in includes.get("arches", (machine,))
        and not set(excludes.get("caps", ())) & set(held)
        and machine not in excludes.get("arches", ())
    )
