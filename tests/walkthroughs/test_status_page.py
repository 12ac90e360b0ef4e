"""The status page in a real browser, of a cluster that has something to show."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from allocator.objects.names import DEFAULT_NAMESPACE, IP_ALLOCATIONS
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until
from tests.lab.workloads import DEPLOYMENTS
from tests.walkthroughs.chromium import visit

PORT = 8080
CONFIGURATION = "tests/guide/complete-production-configuration-example.yaml"
SERVICES = "tests/demo/services.yaml"
LATE = """
apiVersion: v1
kind: Service
metadata:
  name: late
  namespace: development
  annotations:
    metallb.io/loadBalancerIPs: 10.20.20.100
spec:
  type: LoadBalancer
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata:
  name: without-pods
  namespace: production
spec:
  type: LoadBalancer
  selector: {app: nothing}
  ports: [{port: 80}]
"""


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    """The page of the replica that leads: three Services served, one waits, one has no Pods; an address has moved."""
    lab.install()
    variable = f"ADMITLB_STATUS_PAGE_PORT={PORT}"
    lab.kubectl("set", "env", "deployment/controller", "-n", DEFAULT_NAMESPACE, "--containers=reconciler", variable)
    lab.wait_rolled_out(DEPLOYMENTS, "controller")
    lab.kubectl("apply", "-f", CONFIGURATION)
    for name, namespace in (("web", "production"), ("api", "production"), ("preview", "development")):
        lab.deploy_http(name, namespace)
    lab.kubectl("apply", "-f", SERVICES)
    lab.kubectl("apply", "-f", "-", stdin=LATE)
    first = wait_until(lambda: announcer(lab), 30, "somebody announces")
    exclusion = "node.kubernetes.io/exclude-from-external-load-balancers"
    lab.kubectl("label", "node", first, f"{exclusion}=")
    wait_until(lambda: announcer(lab) not in ("", first), 30, "the address has moved")
    lab.kubectl("label", "node", first, f"{exclusion}-")
    yield wait_until(lambda: leading(lab), 30, "a replica leads", retry_on=(OSError,))
    lab.kubectl("delete", "namespace", "production", "development")


def announcer(lab: Lab) -> str:
    items = {item["spec"]["address"]: item for item in lab.cluster().list(IP_ALLOCATIONS)["items"]}
    status = (items.get("203.0.113.10") or items.get("10.10.10.100") or {}).get("status") or {}
    return str((status.get("announcedBy") or {}).get("node") or "")


def leading(lab: Lab) -> str:
    for pod in lab.pods(DEFAULT_NAMESPACE, "component=controller"):
        page = f"http://{pod['status']['podIP']}:{PORT}/"
        if "this replica leads" in lab.client().http_get(page).text:
            return page
    return ""


def test_a_browser_shows_the_whole_page_and_has_nothing_to_complain_of(url: str, tmp_path: Path) -> None:
    seen = wait_until(
        lambda: visited if 'class="alarm"' in (visited := visit(url)).dom else None, 60, "the page has the alarm"
    )
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", seen.dom))
    assert "1 address is announced by no node" in text.partition("AdmitLB")[2].partition("AdmitLB")[0]
    assert "production/without-pods no endpoint of the Service serves" in text
    assert re.search(r"announced by node-\d, before by node-\d", text)
    assert "1 waiting" in text
    assert "external-production" in text
    assert "development/late" in text
    assert "10.20.20.100 is held by development/preview" in text
    assert seen.console == ""
    picture = Path(os.environ.get("ADMITLB_SCREENSHOT", tmp_path / "status-page.png"))
    picture.write_bytes(seen.screenshot)
    assert seen.screenshot.startswith(b"\x89PNG")


def test_the_browser_would_have_said_so(tmp_path: Path) -> None:
    """The check above can fail: a page whose policy forbids its own style is complained of."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!DOCTYPE html><title>x</title><style>body { color: red; }</style><p>x"
            self.send_response(200)
            self.send_header("Content-Security-Policy", "default-src 'none'")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="control-page", daemon=True)
        thread.start()
        try:
            assert "Content Security Policy" in visit(f"http://127.0.0.1:{server.server_address[1]}/").console
        finally:
            server.shutdown()
            thread.join(timeout=10)
