"""A lab kept up for people: held by a process inside its namespaces, steered through a socket outside them.

`run_detached` starts a program inside fresh namespaces and returns as soon as that program calls `hold`; the
program then stays in the background. `ask` talks to it, `reaching` gives the command line that gets into it.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    # Whoever only asks should not wait for the lab's own imports.
    from tests.lab.lab import Lab

_STATE = "ADMITLB_LAB_STATE"
_CREDENTIALS = struct.Struct("3i")
_ANSWER_SECONDS = 120.0
_LOOK_SECONDS = 5.0
_END_SECONDS = 30.0
_GLANCE_SECONDS = 0.05
_LINE_BYTES = 65536


class NoLab(Exception):
    """No lab is held for this user."""


class Refused(Exception):
    """The lab did not do what it was asked; the message is its own."""


def state_directory() -> Path:
    """Return this user's private directory for a held lab, making it. Raises PermissionError if it is another's."""
    parent = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    path = Path(os.environ.get(_STATE) or f"{parent}/admitlb-lab-{os.geteuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    # /tmp is everybody's: somebody else may have been there first.
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user; set XDG_RUNTIME_DIR to a directory of your own")
    return path


def run_detached(command: Sequence[str]) -> int:
    """Run `command` inside fresh namespaces until it holds a lab (return 0) or ends (return its exit code)."""
    state = state_directory()
    address = state / "socket"
    if _is_held(address):
        raise Refused(f"a lab is up already; `{sys.executable} -m tests.lab down` ends it")
    address.unlink(missing_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.enter", "--", *command],
        stdin=subprocess.DEVNULL,
        # A pipe of our own, because what stays in the background would keep the caller's open for ever.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **_terminal_traits(), _STATE: str(state)},
        start_new_session=True,
    )
    try:
        return _pass_output_on(child, until=lambda: _is_held(address))
    except BaseException:
        child.kill()
        child.wait()
        raise


def hold(lab: Lab, announce: Callable[[], None]) -> None:
    """Keep the lab until it is asked to go down; to be called inside `run_detached`, by the lab's own thread.

    `announce` is called once the lab can be asked, as the last that reaches the terminal.
    """
    state = state_directory()
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, end)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(state / "socket"))
        listener.settimeout(_LOOK_SECONDS)
        announce()
        _turn_away_from_terminal(state / "log")
        listener.listen()
        known_problems: list[str] = []
        while not ending:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if (problems := lab.problems()) != known_problems:
                    known_problems = problems
                    print("\n".join(problems), file=sys.stderr, flush=True)
                continue
            with connection:
                ending = _serve(lab, connection) or ending
    (state / "socket").unlink(missing_ok=True)


def ask(verb: str, *arguments: str) -> dict[str, Any]:
    """Ask the held lab to do something and return its answer. Raises NoLab, Refused."""
    with _connected() as connection:
        connection.sendall(json.dumps([verb, *arguments]).encode() + b"\n")
        reader = connection.makefile("rb")
        answer: dict[str, Any] = json.loads(reader.readline(_LINE_BYTES) or b'{"error": "the lab ended"}')
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def take_down() -> None:
    """End the held lab, wait until it is gone, and forget it. Raises NoLab."""
    pid = _holder()
    ask("down")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), _END_SECONDS, "the lab has ended")
    shutil.rmtree(state_directory())


def reaching(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` inside the held lab, in the present directory. Raises NoLab."""
    pid = _holder()
    # A plain user's lab has a user namespace of its own, where they are root already.
    user = ["--user", "--preserve-credentials"] if os.geteuid() != 0 else []
    enter = ["nsenter", f"--target={pid}", *user, "--mount", "--uts", "--net", "--pid", "--"]
    return [*enter, "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(Path.cwd()), *command]


def _serve(lab: Lab, connection: socket.socket) -> bool:
    """Answer one question; tell whether it was to go down."""
    connection.settimeout(_LOOK_SECONDS)
    verb = ""
    try:
        line = connection.makefile("rb").readline(_LINE_BYTES)
        if not line:
            # Somebody only looked whether a lab is held, or who holds it.
            return False
        verb, *arguments = json.loads(line)
        answer = _do(lab, verb, arguments)
    except Refused as error:
        answer = {"error": str(error)}
    except Exception as error:  # whatever went wrong is the asker's to see, and the lab stays up
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        print(f"nobody waited for the answer: {error}", file=sys.stderr, flush=True)
    return verb == "down"


def _do(lab: Lab, verb: str, arguments: list[str]) -> dict[str, Any]:
    if verb in ("kill", "cut", "heal", "revive"):
        (name,) = arguments
        if name not in lab.nodes:
            raise Refused(f"no node {name}; there are {', '.join(lab.nodes)}")
        getattr(lab.node(name), verb)()
    elif verb == "status":
        processes = {name: process.pid for name, process in lab.processes().items()}
        hosts = {name: list(node.addresses) for name, node in lab.nodes.items()}
        hosts |= {name: list(client.addresses) for name, client in lab.clients.items()}
        return {"processes": processes, "hosts": hosts, "problems": lab.problems(), "logs": str(lab.directory)}
    elif verb == "access":
        plane = lab.control_plane
        return {"kubectl": str(plane.binaries.kubectl), "kubeconfig": str(plane.kubeconfig())}
    elif verb != "down":
        raise Refused(f"cannot {verb}")
    return {}


def _pass_output_on(child: subprocess.Popen[bytes], *, until: Callable[[], bool]) -> int:
    """Copy the child's output to ours until it ends (return its exit code) or `until` holds (return 0)."""
    if child.stdout is None:
        raise ValueError("the child's output is not piped")
    output = child.stdout.fileno()
    done = False
    while True:
        # The announcement is in the pipe before the lab can be asked: once more after that, and all is copied.
        done = done or until()
        if select.select([output], [], [], 0.0 if done else _GLANCE_SECONDS)[0]:
            if not (chunk := os.read(output, _LINE_BYTES)):
                return child.wait()
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        elif done:
            return 0


def _terminal_traits() -> dict[str, str]:
    """Tell a program that writes into our pipe what its reader's terminal can show."""
    if not sys.stdout.isatty():
        return {}
    return {"FORCE_COLOR": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}


def _turn_away_from_terminal(log: Path) -> None:
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), sys.stdout.fileno())
        os.dup2(stream.fileno(), sys.stderr.fileno())


def _connected() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_SECONDS)
    try:
        connection.connect(str(state_directory() / "socket"))
    except OSError as error:
        connection.close()
        raise NoLab(f"no lab is up; start one with `{sys.executable} -m tests.lab up`") from error
    return connection


def _is_held(address: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(address))
    except OSError:
        return False
    return True


def _holder() -> int:
    """Return the holder's process id as seen from here: the kernel translates it between PID namespaces."""
    with _connected() as connection:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(data)[0])
