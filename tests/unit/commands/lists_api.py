"""An API over HTTP that lists objects and nothing else, for commands that read a live cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from allocator.cli import main

Lists = dict[str, list[Sequence[dict[str, Any]]]]
"""By path what each list has in turn, the last one from then on."""
SYSTEM_PODS = "/api/v1/namespaces/kube-system/pods"
NOTHING, EVERYTHING = "rights to nothing", "rights to everything"


@contextmanager
def api(rights: str, system_pods: Sequence[dict[str, Any]], objects: Lists) -> Iterator[str]:
    """The URL of an API that has no object but these and Pods of kube-system, and lets one list all kinds or none.

    `objects` are by path: what each list has in turn, and the last one from then on.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200
            body: dict[str, Any] = {"gitVersion": "v1.31.0", "metadata": {}, "items": [], "resources": []}
            if lists := objects.get(self.path.partition("?")[0]):
                body = {**body, "items": list(lists.pop(0) if len(lists) > 1 else lists[0])}
            if self.path.startswith(SYSTEM_PODS):
                body = {**body, "items": list(system_pods)}
            if "/services/" in self.path or (rights == NOTHING and not self.path.startswith("/version")):
                status = 403
            elif "/configmaps/" in self.path or "/customresourcedefinitions/" in self.path:
                status = 404
            text = json.dumps(body if status == 200 else {"kind": "Status", "code": status, "message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, name="api", daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def run(
    rights: str,
    folder: Path,
    *words: str,
    system_pods: Sequence[dict[str, Any]] = (),
    objects: Lists | None = None,
) -> Result:
    """Run a command with a kubeconfig that leads to such an API; it must not end in a traceback."""
    kubeconfig = folder / "kubeconfig"
    with api(rights, system_pods, objects or {}) as url:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": url}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        kubeconfig.write_text(json.dumps(config))
        result = CliRunner().invoke(main, [*words, f"--kubeconfig={kubeconfig}"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result
