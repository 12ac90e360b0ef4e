"""`python -m tests.unit.manifests.routes_program`: prints the paths the webhook answers reviews at, one a line, and
the status of a review of another kind there.

A program of its own, because building the webhook registers metrics with the process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.unit.webhook.reviews import review
from webhook.component import Settings, Webhook

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: none
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
"""


def main() -> None:
    """Build the webhook without starting it."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG)
        webhook = Webhook(Settings(namespace="none", port=0, monitor_port=0, kubeconfig=str(kubeconfig)))
        app = webhook.app()
        foreign = review(kind={"group": "", "version": "v1", "kind": "Pod"})
        for rule in app.url_map.iter_rules():
            if "POST" in (rule.methods or ()):
                print(rule.rule, app.test_client().post(rule.rule, json=foreign).status_code)


if __name__ == "__main__":
    main()
