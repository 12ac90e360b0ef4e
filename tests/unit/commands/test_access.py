"""A person's command asks the cluster that kubectl would ask, in the context that is named."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from click.testing import CliRunner

from allocator.cli import main
from allocator.kube.access import Access
from allocator.kube.client import Cluster
from allocator.kube.package import ConfigException
from tests.unit.commands.test_namespaces import COMMANDS, COMPONENTS, option

POD = "https://10.96.0.1:443"


@pytest.fixture(autouse=True)
def no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def within_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    within = "kubernetes.config.incluster_config"
    monkeypatch.setattr(f"{within}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{within}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))


def kubeconfig(folder: Path) -> str:
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": one, "cluster": {"server": f"http://{one}.test"}} for one in ("a", "b")],
                "users": [{"name": "u", "user": {}}],
                "contexts": [
                    {"name": "a", "context": {"cluster": "a", "user": "u", "namespace": "shop"}},
                    {"name": "b", "context": {"cluster": "b", "user": "u"}},
                ],
                "current-context": "a",
            }
        )
    )
    return str(path)


def asked(access: Access, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server that would be asked."""
    found = []
    # What a pod has for a certificate here is none, which only a connection finds out.
    monkeypatch.setattr("allocator.kube.client.ApiClient", lambda configuration: found.append(configuration.host))
    monkeypatch.setattr(Cluster, "__init__", lambda *_args, **_options: None)
    access.cluster()
    return str(found[0])


def test_a_context_chooses_the_cluster_and_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path)
    assert asked(Access(path), monkeypatch) == "http://a.test"
    assert asked(Access(path, "b"), monkeypatch) == "http://b.test"
    assert (Access(path).namespace(), Access(path, "b").namespace()) == ("shop", "default")
    with pytest.raises(ConfigException, match="Expected object with name c"):
        Access(path, "c").cluster()


@pytest.mark.usefixtures("within_pod")
def test_within_a_pod_a_kubeconfig_goes_before_the_pods_own_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does kubectl; a pipeline that runs in one cluster and has KUBECONFIG means the other."""
    assert asked(Access(), monkeypatch) == POD
    assert Access().namespace() == "default"
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{kubeconfig(tmp_path)}")
    assert asked(Access(), monkeypatch) == "http://a.test"
    assert asked(Access(context="b"), monkeypatch) == "http://b.test"


@pytest.mark.usefixtures("within_pod")
def test_a_user_without_a_home_asks_the_pods_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the image, which has no /etc/passwd."""

    def nobody(_: int) -> NoReturn:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert asked(Access(), monkeypatch) == POD


@pytest.mark.usefixtures("within_pod")
def test_a_context_without_a_kubeconfig_is_not_the_pods_cluster() -> None:
    with pytest.raises(ConfigException, match=r"there is no ~/\.kube/config; name one with --kubeconfig"):
        Access(context="b").cluster()


def test_without_a_cluster_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["pools"])
    assert (done.exit_code, "there is no ~/.kube/config; name one with --kubeconfig" in done.output) == (2, True)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert "KUBECONFIG names /nowhere, which is not there" in CliRunner().invoke(main, ["pools"]).output


def test_every_persons_command_that_takes_a_kubeconfig_takes_a_context() -> None:
    taking = {path for path, command in COMMANDS.items() if option(command, "--kubeconfig")}
    assert taking >= COMPONENTS | {"bgp", "bgp roll", "doctor", "explain", "plan", "pools", "rebalance", "who-has"}
    assert {path for path in taking if option(COMMANDS[path], "--context")} == taking - COMPONENTS
