"""`admitlb plan --against-cluster`: on a live cluster, with read-only rights, in the documentation's pipelines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.cluster.installation import Installation, ingress
from tests.lab.waiting import wait_until
from tests.unit.commands import manifests

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"
LAN = "192.0.2.10-192.0.2.13"
DOCUMENTS = [
    manifests.pool("lan", LAN),
    manifests.pool("vip", "198.51.100.10-198.51.100.13", autoAssign=False),
    manifests.advertisement("all"),
    manifests.service("web", namespace="default", annotations={"loadBalancerIPs": "192.0.2.11"}),
    manifests.service("cart", namespace="default"),
]

Object = dict[str, Any]


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Iterator[Installation]:
    """AdmitLB with DOCUMENTS applied as kubectl does."""
    kubectl = installed.control_plane.kubectl
    for block in blocks("## Rights"):
        kubectl("apply", "-f", "-", stdin=block)
    for document in DOCUMENTS:
        kubectl("apply", "-f", "-", stdin=json.dumps(document))
    for name in ("web", "cart"):
        installed.wait_assigned("default", name)
    yield installed
    for block in blocks("## Rights"):
        kubectl("delete", "-f", "-", stdin=block)


@pytest.fixture(scope="module")
def kubeconfig(admitlb: Installation) -> Path:
    """That of the account in the documentation, which may read and no more."""
    return admitlb.control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "admitlb-plan")


def blocks(heading: str) -> list[str]:
    """The YAML blocks of a section of the page."""
    section = PAGE.read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```yaml\n(.*?)^```", section, re.M | re.S)


def plan(kubeconfig: Path, *documents: Object, options: tuple[str, ...] = ()) -> tuple[int, Object]:
    done = subprocess.run(
        [BIN / "admitlb", "plan", "-", "--against-cluster", "-o", "json", f"--kubeconfig={kubeconfig}", *options],
        check=False,
        input="\n".join(json.dumps(one) for one in documents),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_is_live_changes_nothing(kubeconfig: Path) -> None:
    code, told = plan(kubeconfig, *DOCUMENTS)
    assert (code, told["effects"], told["unchanged"]) == (0, [], 2)
    assert all(document["allowed"] for document in told["documents"])


def test_what_it_says_is_what_the_cluster_does(admitlb: Installation, kubeconfig: Path) -> None:
    """A move, a gain and a wait: said before, and found after the same documents are applied."""
    change = [
        manifests.service("web", namespace="default", annotations={"loadBalancerIPs": "198.51.100.10"}),
        manifests.service("new", namespace="default"),
        manifests.service("late", namespace="default", annotations={"loadBalancerIPs": "198.51.100.10"}),
    ]
    code, told = plan(kubeconfig, *change)
    said = {one["name"]: (one["effect"], one["after"]) for one in told["effects"]}
    assert code == 1
    assert {name: effect for name, (effect, _) in said.items()} == {"web": "Moves", "new": "Gains", "late": "Waits"}
    for document in change:
        admitlb.control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    for name, (_, addresses) in said.items():
        wait_until(
            lambda name=name, addresses=addresses: (  # type: ignore[misc]
                ingress(admitlb.cluster.get(SERVICES, name, "default")) == addresses
            ),
            20,
            f"{name} has {addresses}",
        )
    # Back to DOCUMENTS.
    for name in ("late", "new"):
        admitlb.control_plane.kubectl("delete", "service", name, "-n", "default")
    admitlb.control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(DOCUMENTS[3]))
    wait_until(lambda: ingress(admitlb.cluster.get(SERVICES, "web", "default")) == ["192.0.2.11"], 20, "web is back")


def test_the_rights_of_the_page_are_to_read(admitlb: Installation) -> None:
    roles = [role for block in blocks("## Rights") for role in yaml.safe_load_all(block) if "rules" in role]
    assert {verb for role in roles for rule in role["rules"] for verb in rule["verbs"]} == {"list", "get"}
    # Who has none of them is told so, in a line.
    nobody = admitlb.control_plane.kubeconfig("stranger")
    done = subprocess.run(
        [BIN / "admitlb", "plan", "-", "--against-cluster", f"--kubeconfig={nobody}"],
        check=False,
        input=yaml.safe_dump_all(DOCUMENTS),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(r'the API server says 403 Forbidden: \S+ is forbidden: User "stranger" cannot list', line), line


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone whose branch moves `web` and drops `cart`, beside the branch `main` it came from."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    (origin / "deploy").mkdir(parents=True)
    git(origin, "init", "--quiet", "--initial-branch=main")
    for document in DOCUMENTS:
        name = f"{document['kind'].lower()}-{document['metadata']['name']}.yaml"
        (origin / "deploy" / name).write_text(yaml.safe_dump(document))
    commit(origin)
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    git(clone, "checkout", "--quiet", "-b", "change")
    moved = manifests.service("web", namespace="default", annotations={"loadBalancerIPs": "198.51.100.12"})
    (clone / "deploy" / "service-web.yaml").write_text(yaml.safe_dump(moved))
    (clone / "deploy" / "service-cart.yaml").unlink()
    commit(clone)
    return clone


def git(folder: Path, *words: str) -> None:
    named = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *named, *words], check=True, cwd=folder, capture_output=True, timeout=60)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "--message=change")


def run_step(folder: Path, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step as both services do: bash that ends at the first command that fails."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        check=False,
        cwd=folder,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def commented(comment: str) -> bool:
    return (
        "| default/web | **moves** | `192.0.2.11` | `198.51.100.12` |" in comment
        and "| default/cart | deleted |" in comment
    )


def test_the_github_workflow_comments_and_fails(repository: Path, kubeconfig: Path, tmp_path: Path) -> None:
    (block,) = blocks("## GitHub Actions")
    steps = yaml.safe_load(block)["jobs"]["plan"]["steps"]
    temporary, outputs, tools = tmp_path / "runner", tmp_path / "outputs", tmp_path / "tools"
    temporary.mkdir()
    tools.mkdir()
    # GitHub's own program, which needs GitHub: what it is given is looked at.
    (tools / "gh").write_text(
        '#!/bin/bash\nprintf "%s " "$@" > "$RUNNER_TEMP/gh"; cat "$5" > "$RUNNER_TEMP/comment"\n'
    )
    (tools / "gh").chmod(0o755)
    values = {
        "secrets.ADMITLB_PLAN_KUBECONFIG": kubeconfig.read_text(),
        "github.token": "token",
        "github.event.pull_request.number": "7",
    }
    codes = {}
    for step in steps:
        if "run" not in step or step["name"] == "Install":
            continue
        if outputs.exists():
            values |= {f"steps.plan.outputs.{line.split('=')[0]}": line.split("=")[1] for line in lines(outputs)}
        given = {name: values[text.strip("${} ")] for name, text in (step.get("env") or {}).items()}
        environment = {
            "RUNNER_TEMP": str(temporary),
            "GITHUB_BASE_REF": "main",
            "GITHUB_OUTPUT": str(outputs),
            "PATH": f"{tools}:{BIN}:{os.environ['PATH']}",
            **given,
        }
        done = run_step(repository, step["run"], environment)
        codes[step["name"]] = done.returncode
        assert done.returncode == 0 or step["name"] == "Result", done.stderr
    assert codes == {"Lint": 0, "Plan": 0, "Comment": 0, "Result": 1}
    assert commented((temporary / "comment").read_text())
    assert (temporary / "gh").read_text().startswith("pr comment 7 --body-file ")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_gitlab_job_comments_and_fails(repository: Path, kubeconfig: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("the job's image has curl; so must this machine")
    (block,) = blocks("## GitLab CI")
    script = [line for line in yaml.safe_load(block)["loadbalancer-addresses"]["script"] if "pip install" not in line]
    with Notes() as notes:
        environment = {
            "ADMITLB_PLAN_KUBECONFIG": str(kubeconfig),
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_BUILDS_DIR": str(tmp_path),
            "CI_API_V4_URL": notes.url,
            "CI_PROJECT_ID": "3",
            "CI_MERGE_REQUEST_IID": "7",
            "COMMENT_TOKEN": "token",
        }
        done = run_step(repository, "\n".join(script), environment)
    assert done.returncode == 1, done.stderr
    ((path, token, body),) = notes.received
    assert (path, token) == ("/projects/3/merge_requests/7/notes", "token")
    assert commented(body)


class Notes:
    """GitLab's API for notes, as far as a job uses it: takes what is posted in."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, str]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                received.append((self.path, self.headers["PRIVATE-TOKEN"], parse_qs(body)["body"][0]))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="notes", daemon=True)

    def __enter__(self) -> Notes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
