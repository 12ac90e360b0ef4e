"""`python -m tests.lab.enter -- COMMAND`: run COMMAND where the lab may do what it likes.

COMMAND gets its own network, mount, PID and host-name namespaces (and, for callers who are not root, a user
namespace in which they are): nothing it does reaches the machine's network, and when it ends, or its caller
dies, every process it started is killed and every interface it made is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.lab.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, writable_copy
from tests.lab.namespaces import INSIDE, MS_BIND, NAMED, mount

_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
_INIT = "--init"
_PRIVATE_RUN = frozenset({"netns", "xtables.lock", "lock", "resolv.conf", "secrets"})
"""Entries of /run that the lab makes itself; all others stay visible."""

CANNOT = 77
"""Exit code when the machine forbids what the lab needs (the convention for "could not be run")."""


def unshare_command(*, user_namespace: bool) -> list[str]:
    """Return the `unshare` command line that makes the outer namespaces."""
    # util-linux's --mount-proc also makes all mounts private, so that nothing leaks to the machine's.
    command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*command, "--user", "--map-root-user"] if user_namespace else command


def missing_capabilities() -> list[str]:
    """Return everything about this machine that keeps the lab from running, each with its remedy."""
    missing = []
    for program, package in (
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
        ("ip", "iproute2"),
        ("hostname", "hostname"),
        ("iptables", "iptables"),
        ("ip6tables", "iptables"),
    ):
        if _which(program) is None:
            missing.append(f"the program `{program}` is missing; install the package {package}")
    if missing:
        return missing
    outer = unshare_command(user_namespace=os.geteuid() != 0)
    if problem := _failure([*outer, "true"]):
        remedy = (
            "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0) or run as root"
            if os.geteuid() != 0
            else "give the container CAP_SYS_ADMIN and CAP_NET_ADMIN (docker run --privileged)"
        )
        return [f"new namespaces are refused ({problem}); {remedy}"]
    for what, script, remedy in (
        ("a veth pair", "ip link add a type veth peer name b", "load the kernel module veth"),
        ("a bridge", "ip link add br type bridge", "load the kernel module bridge"),
        ("IPv6", "ip link set lo up && ip -6 address add 2001:db8::1/128 dev lo", "boot without ipv6.disable=1"),
        ("a fresh /sys", "mount -t sysfs sysfs /sys", "run without masked /sys (docker run --privileged)"),
        ("a tmpfs", "mount -t tmpfs tmpfs /run", "allow mounting tmpfs"),
        (
            "iptables NAT",
            "mount -t tmpfs tmpfs /run && iptables -w -t nat -A POSTROUTING -j MASQUERADE",
            "load the kernel modules nf_tables, nft_compat, nf_nat and xt_MASQUERADE",
        ),
        (
            "ip6tables NAT",
            "mount -t tmpfs tmpfs /run && ip6tables -w -t nat -A POSTROUTING -j MASQUERADE",
            "load the kernel modules nf_tables, nft_compat, nf_nat and xt_MASQUERADE",
        ),
    ):
        if problem := _failure([*outer, "sh", "-c", script]):
            missing.append(f"{what} cannot be made ({problem}); {remedy}")
    return missing


def main(arguments: Sequence[str]) -> int:
    """Run the command behind `--` inside fresh namespaces and return its exit code."""
    words = list(arguments)
    if words[:1] == [_INIT]:
        _be_init(words[1:])
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        print("usage: python -m tests.lab.enter -- COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    if os.environ.get(INSIDE) == "1":
        os.execvp(words[0], words)
    complete_path()
    command = unshare_command(user_namespace=os.geteuid() != 0)
    init = [sys.executable, "-m", "tests.lab.enter", _INIT]
    # Init says through this pipe that it got as far as starting the command: what fails before is the machine's.
    ready_read, ready_write = os.pipe()
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig", "SIGKILL", "--", *command, *init, str(ready_write), *words],
        pass_fds=(ready_write,),
    )
    os.close(ready_write)
    _forward_signals_to_child_of(child.pid)
    code = _wait(child)
    entered = os.read(ready_read, 1) == b"1"
    if entered:
        return code
    problems = missing_capabilities() or [f"unshare ended with code {code} for no reason found"]
    print("The lab cannot run on this machine:", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)
    return CANNOT


def _be_init(words: list[str]) -> NoReturn:
    """Be PID 1 of the new namespace: set it up, run the command, reap orphans, end with the command's code."""
    ready = int(words[0])
    _set_up()
    os.write(ready, b"1")
    os.close(ready)
    # The terminal sends Ctrl-C to the command as well; init only has to outlive it.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGQUIT, lambda *_: None)
    environment = {**os.environ, INSIDE: "1"}
    try:
        child = subprocess.Popen(words[1:], env=environment)
    except OSError as error:
        print(f"{words[1]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)
    for number in _FORWARDED:
        signal.signal(number, lambda got, _frame: child.send_signal(got))
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            sys.exit(code if code >= 0 else 128 - code)


def _set_up() -> None:
    """Private /run and /sys, `lo` up, no DNS: what programs need to see of this namespace, and nothing else."""
    writable_copy(Path("/run"), without=_PRIVATE_RUN)
    NAMED.mkdir()
    Path("/run/lock").mkdir(mode=0o1777)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("sysfs", "/sys", "sysfs", flags=flags)
    # The machine's name servers are out of reach here; without any, a look-up fails at once, not after seconds.
    Path("/run/resolv.conf").touch()
    if (configuration := Path("/etc/resolv.conf")).exists():
        mount("/run/resolv.conf", str(configuration.resolve()), flags=MS_BIND)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    subprocess.run(["hostname", "admitlb-lab"], check=True, timeout=10)


def _forward_signals_to_child_of(pid: int) -> None:
    # unshare itself blocks these signals while it waits, so they go to its child, which is our init.
    def forward(number: int, _frame: FrameType | None) -> None:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGQUIT, lambda *_: None)


def _wait(child: subprocess.Popen[bytes]) -> int:
    code = child.wait()
    return code if code >= 0 else 128 - code


def complete_path() -> None:
    """Add the sbin folders that a plain user's PATH lacks: ip, iptables and etcd may live there."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    folders += [extra for extra in ("/usr/local/sbin", "/usr/sbin", "/sbin") if extra not in folders]
    os.environ["PATH"] = os.pathsep.join(folders)


def _which(program: str) -> str | None:
    done = subprocess.run(["sh", "-c", f"command -v {program}"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or None


def _failure(command: list[str]) -> str | None:
    """Run `command`; return None if it succeeded, else the last line it wrote."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
