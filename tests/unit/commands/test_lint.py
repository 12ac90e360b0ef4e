"""`admitlb lint`: the answers of admission, offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from allocator.cli import main
from tests.unit.commands.manifests import Object, advertisement, deleted, lint, namespace, pool, service

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "tests" / "guide"
MAIN = pool("main", "192.0.2.0/28")


def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=stdin)


def test_the_json_has_these_fields_and_no_others() -> None:
    ran = lint(pool("bad", "nonsense"))
    assert ran.code == 1
    assert ran.told == {
        "documents": [
            {
                "index": 0,
                "source": "-",
                "kind": "IPAddressPool",
                "namespace": "metallb-system",
                "name": "bad",
                "allowed": False,
                "code": 422,
                "message": "IPAddressPool bad: spec.addresses[0]: 'nonsense' is not an IP address; "
                "write it like 192.0.2.10 or 2001:db8::10",
                "warnings": [],
            }
        ]
    }


def test_only_documents_with_rules_are_listed_and_the_others_are_counted() -> None:
    ran = lint(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}},
        namespace("plain"),
        namespace("limited", quota="3"),
        service("internal", type="ClusterIP"),
        service("web"),
        MAIN,
        advertisement("l2"),
        {"just": "values"},
    )
    listed = [(one["index"], one["kind"], one["name"]) for one in ran.documents]
    assert listed == [
        (2, "Namespace", "limited"),
        (4, "Service", "web"),
        (5, "IPAddressPool", "main"),
        (6, "L2Advertisement", "l2"),
    ]
    assert ran.documents[0]["namespace"] == ""
    assert ran.code == 0


def test_lists_are_unpacked() -> None:
    listing = {"apiVersion": "v1", "kind": "List", "items": [MAIN, service("web")]}
    typed = {"apiVersion": "v1", "kind": "ServiceList", "items": [{**service("api"), "kind": None}]}
    del typed["items"][0]["kind"], typed["items"][0]["apiVersion"]  # type: ignore[index]
    ran = lint(listing, typed)
    assert [(one["index"], one["name"]) for one in ran.documents] == [(0, "main"), (1, "web"), (2, "api")]


def test_a_repeated_document_is_an_update_and_a_deleted_one_makes_room() -> None:
    assert lint(MAIN, MAIN).codes == [200, 200]
    assert lint(MAIN, pool("other", "192.0.2.0/28")).codes == [200, 422]
    assert lint(MAIN, deleted(MAIN), pool("other", "192.0.2.0/28")).codes == [200, 200, 200]


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (pool("p", "10.0.0.9-10.0.0.1"), 422, "spec.addresses[0]"),
        (pool("p", "10.0.0.1-2001:db8::1"), 422, "one range per family"),
        (pool("p", "224.0.0.0/24"), 422, "multicast"),
        (pool("p"), 422, "spec.addresses: is empty"),
        (pool("p", "10.0.0.1", autoAssign="yes"), 422, "spec.autoAssign: 'yes' is not a boolean"),
        (pool("p", "10.0.0.1", shrinkPolicy="Never"), 422, "use one of Reject, Drain, Reassign"),
        (pool("p", "10.0.0.1", serviceAllocation={"priority": -1}), 422, "spec.serviceAllocation.priority"),
        (pool("p", "10.0.0.1", namespace="default"), 422, "create it in metallb-system"),
        (advertisement("a", namespace="default"), 422, "create it in metallb-system"),
        (advertisement("a", ipAddressPools=["x", "x"]), 422, "is listed twice"),
        (advertisement("a", nodeSelectors=[{"matchExpressions": [{"key": "k", "operator": "In"}]}]), 422, "In needs"),
        (namespace("n", quota="many"), 422, "admitlb.io/ip-quota"),
        (service("s", annotations={"loadBalancerIPs": "1.2.3"}), 422, "not an IP address"),
        (service("s", annotations={"loadBalancerIPs": "10.0.0.1,10.0.0.2"}), 422, "one family"),
        (service("s", annotations={"loadBalancerIPs": "10.0.0.1"}, loadBalancerIP="10.0.0.1"), 422, "only one"),
        (service("s", annotations={"loadBalancerIPs": "2001:db8::1"}), 422, "IPv6"),
        (service("s", ports="http"), 422, "spec.ports: 'http' is not a list"),
        (service("s", ipFamilyPolicy="Both"), 422, "spec.ipFamilyPolicy"),
    ],
)
def test_what_admission_or_the_schema_refuses_is_denied(document: Object, code: int, words: str) -> None:
    ran = lint(document)
    assert (ran.code, ran.codes) == (1, [code])
    assert words in ran.messages[0]
    assert "\n" not in ran.messages[0]


def test_a_service_is_denied_a_pool_that_is_not_open_to_it() -> None:
    closed = pool("prod-only", "192.0.2.1", serviceAllocation={"namespaces": ["prod"]})
    ran = lint(closed, service("web", namespace="dev", annotations={"address-pool": "prod-only"}))
    assert ran.codes == [200, 403]


def test_a_quota_that_is_reached_denies() -> None:
    assert lint(namespace("prod", quota="1"), MAIN, service("a"), service("b")).codes == [200, 200, 200, 403]


def test_what_time_can_heal_is_a_warning_and_under_strict_a_denial() -> None:
    relaxed = lint(service("web"))
    assert (relaxed.code, relaxed.codes, len(relaxed.warnings)) == (0, [200], 1)
    strict = lint(service("web"), options=("--strict",))
    assert (strict.code, strict.codes) == (1, [422])


def test_a_name_may_be_missing_only_where_generate_name_stands() -> None:
    nameless = service("x")
    del nameless["metadata"]["name"]
    assert lint(nameless).messages == ["prod/: metadata: needs name or generateName"]
    nameless["metadata"]["generateName"] = "web-"
    assert lint(nameless).codes == [200]


def test_a_field_nobody_reads_is_a_warning_that_names_the_one_meant() -> None:
    ran = lint(pool("p", "10.0.0.1", autoAsign=False))
    assert ran.codes == [200]
    assert ran.warnings == [
        "IPAddressPool p: spec.autoAsign: unknown field, the API server drops it; did you mean autoAssign?"
    ]


def test_a_null_is_as_good_as_nothing() -> None:
    document = pool("p", "10.0.0.1", autoAssign=None, serviceAllocation=None)
    ran = lint(document, advertisement("a") | {"spec": None})
    assert (ran.codes, ran.warnings) == ([200, 200], [])


def test_a_version_that_is_not_served_is_not_found() -> None:
    ran = lint(MAIN | {"apiVersion": "metallb.io/v1alpha1"})
    assert ran.codes == [404]
    assert "write metallb.io/v1beta1" in ran.messages[0]


def test_documents_without_a_namespace_go_where_kubectl_would_put_them() -> None:
    bare = pool("main", "192.0.2.1")
    del bare["metadata"]["namespace"]
    assert (lint(bare).codes, lint(bare).documents[0]["namespace"]) == ([422], "default")
    assert lint(bare, options=("--namespace", "metallb-system")).codes == [200]
    elsewhere = lint(bare, options=("-n", "lb", "--admitlb-namespace", "lb"))
    assert (elsewhere.codes, elsewhere.documents[0]["namespace"]) == ([200], "lb")


def test_nothing_to_check_is_allowed() -> None:
    assert (lint().code, lint().told) == (0, {"documents": []})


def test_the_guides_manifests_are_allowed_but_for_its_overlapping_pools() -> None:
    files = sorted(GUIDE.glob("*.yaml"))
    denied: dict[tuple[str, str], str] = {}
    for file in files:
        told = json.loads(invoke(str(file), "-o", "json").stdout)["documents"]
        denied |= {(file.stem, one["name"]): one["message"] for one in told if not one["allowed"]}
    # MetalLB refuses this pair as well: the test pool has to go before the one for production comes.
    assert list(denied) == [("4-implement-graduated-rollout", "new-pool-production")]
    assert "overlaps 192.168.5.10-192.168.5.15 of pool new-pool-test" in denied.popitem()[1]
    assert len(files) > 20


def test_files_and_folders_are_read_in_order_and_named_as_their_source(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(yaml.safe_dump(service("web")))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([MAIN, advertisement("l2")]))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.json").write_text(json.dumps(service("api")))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.yaml").write_text("not: [closed")
    (tmp_path / "README.md").write_text("# not: a manifest")
    told = json.loads(invoke(str(tmp_path), "-o", "json").stdout)["documents"]
    assert [(one["index"], Path(one["source"]).name, one["name"]) for one in told] == [
        (0, "a.yaml", "main"),
        (1, "a.yaml", "l2"),
        (2, "b.yml", "web"),
        (3, "c.json", "api"),
    ]


def test_unreadable_input_is_told_line_by_line_and_exits_2(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: Service\nspec: [\n")
    missing = tmp_path / "missing.yaml"
    result = invoke(str(broken), str(missing), "-", stdin="just text")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(": ")[1:3] for line in result.stderr.splitlines()] == [
        [f"{broken}:3", "is not YAML"],
        [str(missing), "No such file or directory"],
        ["-:1", "holds 'just text', which is no Kubernetes object"],
    ]
    assert invoke().exit_code == 2


def test_the_text_has_one_line_a_problem_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "pools.yaml"
    file.write_text(
        "apiVersion: metallb.io/v1beta1\n"
        "kind: IPAddressPool\n"
        "metadata: {name: one, namespace: metallb-system}\n"
        "spec:\n"
        "  addresses:\n"
        "    - 192.0.2.1\n"
        "    - nonsense\n"
        "  autoAsign: true\n"
    )
    result = invoke(str(file))
    assert result.exit_code == 1
    error, warning, sums = result.stdout.splitlines()
    assert error.startswith(f"{file}:7: error 422: IPAddressPool one: spec.addresses[1]: ")
    assert warning.startswith(f"{file}:8: warning: IPAddressPool one: spec.autoAsign: ")
    assert sums == "1 document checked: 1 denied, 1 warning"


def test_github_gets_workflow_commands(tmp_path: Path) -> None:
    file = tmp_path / "100%,a.yaml"
    file.write_text(yaml.safe_dump_all([pool("one", "nonsense"), service("web")]))
    result = invoke(str(file), "-o", "github")
    error, warning = result.stdout.splitlines()
    path = str(file).replace("%", "%25").replace(",", "%2C")
    assert error.startswith(f"::error file={path},line=8,title=AdmitLB 422::IPAddressPool one: spec.addresses[0]: ")
    assert warning.startswith(f"::warning file={path},line=")
    assert result.exit_code == 1
    file.write_text("a: [\n")
    broken = invoke(str(file), "-o", "github")
    assert (broken.exit_code, broken.stdout.split(",title")[0]) == (2, f"::error file={path},line=2")


def test_the_pre_commit_hook_runs_lint_on_the_files_it_is_given(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook["language"], hook["require_serial"]) == ("python", True), "one run sees all files"
    program, *arguments = hook["entry"].split()
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(pool("bad", "nonsense")))
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments, file], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout.count(b"error 422")) == (1, 1)


def test_lint_imports_nothing_that_is_slow_to_import(tmp_path: Path) -> None:
    """A pre-commit hook runs it at every commit."""
    file = tmp_path / "main.yaml"
    file.write_text(yaml.safe_dump_all([MAIN, service("web")]))
    script = "import sys\nfrom allocator.cli import main\nmain(sys.argv[1:], standalone_mode=False)\n"
    told = "import atexit, sys\natexit.register(lambda: print(*sorted({m.split('.')[0] for m in sys.modules})))\n"
    done = subprocess.run(
        [sys.executable, "-c", told + script, "lint", str(file)], check=True, capture_output=True, text=True
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "jsonschema" in imported
    assert not imported & {"kubernetes", "flask", "gunicorn", "rich", "cryptography", "scapy", "prometheus_client"}


@pytest.mark.parametrize(
    ("documents", "warned"),
    [
        ([MAIN], False),
        ([MAIN, advertisement("all")], False),
        ([MAIN, advertisement("its", ipAddressPools=["main"])], False),
        ([advertisement("its", ipAddressPools=["main"]), MAIN], False),
        ([MAIN, advertisement("another", ipAddressPools=["other"]), pool("other", "198.51.100.1")], True),
        ([MAIN, advertisement("labelled", ipAddressPoolSelectors=[{"matchLabels": {"tier": "public"}}])], True),
        ([MAIN, advertisement("all"), deleted(advertisement("all")), service("web")], True),
        ([MAIN, service("web")], True),
    ],
)
def test_a_pool_that_no_advertisement_covers_is_warned_of(documents: list[Object], warned: bool) -> None:
    ran = lint(*documents)
    warnings = [warning for one in ran.told["documents"] if one["name"] == "main" for warning in one["warnings"]]
    assert any("no L2Advertisement or BGPAdvertisement covers pool main" in warning for warning in warnings) == warned
    assert not any("there is no pool main" in str(one) for one in ran.told["documents"])


@pytest.mark.parametrize("text", [b"\xff\xfea\x00", "kind: \u00e4".encode("latin-1")])
def test_input_that_is_no_utf_8_is_unreadable_wherever_it_comes_from(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(text)
    for result in (invoke(str(file)), invoke("-", stdin=text)):
        assert result.exit_code == 2
        assert "is not UTF-8 text" in result.output
