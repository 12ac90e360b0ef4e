"""The status page on a telephone, in a real browser: nothing is wider than the screen, and the alarm comes first."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry
from allocator.status_page.html import render
from tests.unit.commands.manifests import advertisement
from tests.unit.status_page.claims import allocation, pool, waiting_service
from tests.unit.status_page.test_page import picture
from tests.walkthroughs.chromium import visit

LONG = "a-name-as-long-as-kubernetes-lets-one-be-which-is-63-characters"
RANGE = "2001:db8:1234:5678:9abc:def0:1234:5678-2001:db8:1234:5678:9abc:def0:1234:56ff"
SESSION = SessionEntry(peer=LONG, neighbor="2001:db8:1234:5678:9abc:def0:1234:5678", message="not connected: " + LONG)
PAGE = render(
    picture(
        pools=[pool(LONG, RANGE, "192.0.2.10-192.0.2.250"), pool("one", "198.51.100.1")],
        allocations=[
            allocation("192.0.2.10", f"{LONG}/{LONG}"),
            allocation("2001:db8:1234:5678:9abc:def0:1234:5679", f"{LONG}/{LONG}", node=LONG),
            allocation("198.51.100.1", "a/b", pool="one", node="node-1"),
        ],
        services=[waiting_service(LONG, f"prod/{LONG}: no IPv4 address left ({LONG}: full)")],
        l2_advertisements=[advertisement("all")],
        nodes={LONG: {}, "node-1": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}},
        bgp_node_statuses=[{"metadata": {}, "status": BgpNodeStatus(node=LONG, sessions=(SESSION,)).as_status()}],
    ),
    wanted="",
)
MEASURE = """<!DOCTYPE html><title>x</title><body style="margin: 0"><script>
function measured(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > WIDTH + 1);
  const alarm = page.querySelector(".alarm").getBoundingClientRect();
  const said = document.createElement("p");
  said.id = "measured";
  said.textContent = [root.scrollWidth, wide.map(one => one.outerHTML.slice(0, 80)).join(" ") || "none", alarm.top]
    .join("|");
  document.body.append(said);
}
</script><iframe src="/page" style="border: 0; width: WIDTHpx; height: 800px" onload="measured(this)"></iframe>"""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = PAGE if self.path == "/page" else MEASURE.replace("WIDTH", self.path.strip("/"))
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="narrow-page", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=10)


@pytest.mark.parametrize("width", [360, 420, 1100])
def test_nothing_is_wider_than_the_screen_and_the_alarm_is_on_top(base: str, width: int) -> None:
    dom = visit(f"{base}/{width}").dom
    found = re.search(r'<p id="measured">([^<]*)</p>', dom)
    assert found, dom[-2000:]
    scroll_width, wide, top = found[1].split("|")
    assert (int(scroll_width), wide) == (width, "none")
    assert 0 <= float(top) < 100


def test_the_measure_would_notice(base: str) -> None:
    """The check above can fail: at 60 pixels something of the page is too wide."""
    found = re.search(r'<p id="measured">([^<]*)</p>', visit(f"{base}/60").dom)
    assert found
    assert int(found[1].split("|")[0]) > 60
