"""Going before other programs, where it is allowed; and what the component adds for it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import yaml

from speaker.realtime import NICE, THREADS
from tests.unit.manifests.documents import ROOT, named

COMPONENTS = ROOT / "kustomize" / "components"
PROGRAM = """
import os, threading
from allocator.process import logs
from speaker.realtime import prefer_process, prefer_threads
logs.configure("info")
prefer_process()
done = threading.Event()
threads = {name: threading.Thread(target=done.wait, name=name) for name in ("heartbeats", "packets", "controller")}
for thread in threads.values():
    thread.start()
prefer_threads()
for name, thread in threads.items():
    tid = thread.native_id
    print(name, os.sched_getscheduler(tid) == os.SCHED_RR, os.getpriority(os.PRIO_PROCESS, tid))
done.set()
"""


def run(*before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", PROGRAM]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def may_be_realtime() -> bool:
    program = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_the_threads_that_hear_and_answer_are_real_time_and_the_others_go_before_most() -> None:
    if not may_be_realtime():
        pytest.skip("not tested: this process may not use real-time scheduling")
    seen = dict(line.split(" ", 1) for line in run().stdout.splitlines())
    assert {name for name, state in seen.items() if state.startswith("True")} == set(THREADS)
    assert seen["controller"] == f"False {NICE}"


def test_where_it_is_not_allowed_an_error_says_what_is_missing_and_everything_goes_on() -> None:
    if shutil.which("setpriv") is None or not may_be_realtime():
        pytest.skip("not tested: no capability to take away")
    done = run("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
    assert {line.split(" ")[1] for line in done.stdout.splitlines()} == {"False"}
    assert "event=realtime.refused" in done.stderr
    assert "SYS_NICE" in done.stderr


def patched(component: str) -> dict[str, object]:
    document = yaml.safe_load((COMPONENTS / component / "speaker.yaml").read_text())
    (container,) = document["spec"]["template"]["spec"]["containers"]
    assert container.pop("name") == "speaker"
    return dict(container)


def shipped() -> dict[str, object]:
    (container,) = named("DaemonSet", "speaker")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_component_adds_the_option_and_one_capability() -> None:
    before = shipped()["securityContext"]["capabilities"]["add"]  # type: ignore[index]
    assert patched("realtime") == {
        "env": [{"name": "ADMITLB_REALTIME", "value": "true"}],
        "securityContext": {"capabilities": {"add": [*before, "SYS_NICE"]}},
    }


def test_guaranteed_memory_is_the_limit_that_the_speaker_has_anyway() -> None:
    limit = shipped()["resources"]["limits"]["memory"]  # type: ignore[index]
    assert patched("guaranteed-memory") == {"resources": {"requests": {"memory": limit}, "limits": {"memory": limit}}}
