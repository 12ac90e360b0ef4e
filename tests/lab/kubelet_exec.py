"""`kubectl exec` at the kubelet: a program beside a container's own, its input and output over SPDY streams."""

from __future__ import annotations

import json
import os
import select
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from tests.lab.spdy import Opened, Received, Spdy

PROTOCOL = "v4.channel.k8s.io"
"""The exit code comes as a Status on the error stream. Kubernetes: apimachinery pkg/util/remotecommand."""

_CHUNK_BYTES = 32768
_WANTED = {"input": "stdin", "output": "stdout", "error": "stderr"}

Program = Callable[[bool], "subprocess.Popen[bytes]"]
"""Starts the program with pipes for its output and, if asked, its input."""


def wanted_streams(query: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the streams that the peer is going to open, of a request's query."""
    return {"error", *(name for field, name in _WANTED.items() if query.get(field, [""])[0] in ("1", "true"))}


class Exec:
    """One run of a program; owned by the thread that serves the connection, which is all that `run` uses."""

    def __init__(self, connection: ssl.SSLSocket, *, wanted: set[str], program: Program) -> None:
        self._connection = connection
        self._wanted = wanted
        self._program = program
        self._spdy = Spdy()
        self._streams: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start the program once all streams are open, carry its output until it ends, and say how it ended.

        It is killed when the peer goes away first. Raises OSError and ValueError for a peer that is not understood.
        """
        try:
            while self._process is None:
                self._take(self._connection.recv(_CHUNK_BYTES))
            self._carry(self._process)
            self._finish(self._process.wait())
        finally:
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.kill()
                self._process.wait()

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("the peer has gone")
        for event in self._spdy.receive(data):
            if isinstance(event, Opened):
                self._streams[event.headers.get("streamtype", "")] = event.stream
                self._connection.sendall(self._spdy.reply(event.stream))
            else:
                self._feed(event)
        if self._spdy.answers:
            self._connection.sendall(self._spdy.answers)
            self._spdy.answers.clear()
        if self._process is None and self._wanted <= self._streams.keys():
            self._process = self._program("stdin" in self._wanted)

    def _feed(self, event: Received) -> None:
        source = self._process.stdin if self._process is not None else None
        if source is None or event.stream != self._streams.get("stdin"):
            return
        with suppress(BrokenPipeError):
            source.write(event.data)
            source.flush()
        if event.last:
            source.close()

    def _carry(self, process: subprocess.Popen[bytes]) -> None:
        pipes = {
            pipe.fileno(): self._streams.get(name)
            for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
            if pipe is not None
        }
        poll = select.poll()
        for descriptor in (*pipes, self._connection.fileno()):
            poll.register(descriptor, select.POLLIN)
        while pipes:
            # What TLS has read already is nothing that poll would tell of.
            while self._connection.pending():
                self._take(self._connection.recv(_CHUNK_BYTES))
            for descriptor, _ in poll.poll():
                if descriptor not in pipes:
                    self._take(self._connection.recv(_CHUNK_BYTES))
                    continue
                data = os.read(descriptor, _CHUNK_BYTES)
                stream = pipes[descriptor]
                if stream is not None:
                    self._connection.sendall(self._spdy.write(stream, data, last=not data))
                if not data:
                    poll.unregister(descriptor)
                    del pipes[descriptor]

    def _finish(self, code: int) -> None:
        status = _status(code if code >= 0 else 128 - code)
        self._connection.sendall(self._spdy.write(self._streams["error"], json.dumps(status).encode(), last=True))


def _status(code: int) -> dict[str, object]:
    """Kubernetes: kubelet pkg/kubelet/cri/streaming/remotecommand/exec.go."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
