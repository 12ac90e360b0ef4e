"""What a Kubernetes program's own `--help` says it knows, so that no flag is chosen by version number."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HELP_TIMEOUT_SECONDS = 30
_FLAG = re.compile(r"^\s+(?:-\w, )?--([\w-]+)", re.MULTILINE)
# Since 1.31 a gate's name carries the component that owns it ("kube:Name=true|false ...").
_GATE = re.compile(r"\b(\w+)=true\|false \(\w+ - default=(true|false)\)")

FEATURE_GATES = ("IPv6DualStack", "MixedProtocolLBService", "ServiceLoadBalancerClass")
"""What every supported version can do, behind a gate or (then unknown as a gate) always."""


@dataclass(frozen=True, slots=True)
class ProgramHelp:
    """The flags one program knows, and its feature gates with their defaults."""

    flags: frozenset[str]
    gates: dict[str, bool]

    def only_known(self, **flags: str) -> list[str]:
        """Return `--name=value` for those of `flags` that the program has (`_` stands for `-`)."""
        named = {name.replace("_", "-"): value for name, value in flags.items()}
        return [f"--{name}={value}" for name, value in named.items() if name in self.flags]

    def gates_to_open(self, wanted: Iterable[str] = FEATURE_GATES) -> list[str]:
        """Return the `--feature-gates` argument, if any, that turns on what is wanted and off by default."""
        off = [f"{gate}=true" for gate in wanted if self.gates.get(gate) is False]
        return ["--feature-gates=" + ",".join(off)] if off else []


@cache
def program_help(program: Path) -> ProgramHelp:
    """Ask `program --help` once. Raises subprocess.SubprocessError where it does not run."""
    answer = subprocess.run(
        [program, "--help"], capture_output=True, text=True, timeout=_HELP_TIMEOUT_SECONDS, check=True
    )
    return read_help(answer.stdout)


def read_help(text: str) -> ProgramHelp:
    """Read the text of `--help`."""
    return ProgramHelp(
        flags=frozenset(_FLAG.findall(text)),
        gates={name: default == "true" for name, default in _GATE.findall(text)},
    )


@cache
def etcd_accepts(etcd: Path, flag: str) -> bool:
    """Whether this etcd takes `flag`: not every flag that it takes is in its help."""
    answer = subprocess.run(
        [etcd, flag, "--version"], capture_output=True, timeout=_HELP_TIMEOUT_SECONDS, check=False
    )
    return answer.returncode == 0
