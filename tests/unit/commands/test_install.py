"""What `admitlb install` makes of an overlay and of what is asked; that it renders is tests/cluster's."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from allocator.cli import main
from allocator.commands.install import _PLACEHOLDER
from allocator.installation.image import Image, NotAnImage
from allocator.installation.overlay import Choices, components, overlays, with_choices, write
from tests.unit.manifests.documents import ROOT

DIGEST = "sha256:" + "0123456789abcdef" * 4
NAMES = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,4})?", fullmatch=True)


@given(
    host=st.sampled_from(["", "localhost:5000/", "registry.example.com/", "r.io:443/team/"]),
    name=NAMES,
    tag=st.sampled_from(["", "0.1.0", "v1_2.3-rc.1"]),
    digest=st.sampled_from(["", DIGEST]),
)
def test_a_reference_is_read_into_its_parts(host: str, name: str, tag: str, digest: str) -> None:
    text = f"{host}{name}{':' if tag else ''}{tag}{'@' if digest else ''}{digest}"
    assert Image.parse(text) == Image(f"{host}{name}", tag, digest)


@pytest.mark.parametrize("text", ["", "a b", "admitlb:", "admitlb@sha256:12", "Admitlb", "admitlb:1:2", "-x; rm"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(NotAnImage, match="is no image; write it as"):
        Image.parse(text)


@pytest.mark.parametrize(
    ("image", "entry"),
    [
        (Image("r/a", "1"), {"newName": "r/a", "newTag": "1"}),
        (Image("r/a", "1", DIGEST), {"newName": "r/a", "digest": DIGEST}),
        # Without one kustomize would keep the tag of the manifests, which need not be there.
        (Image("r/a"), {"newName": "r/a", "newTag": "latest"}),
    ],
)
def test_an_image_takes_the_place_of_the_manifests(image: Image, entry: dict[str, str]) -> None:
    assert image.override("admitlb") == {"name": "admitlb", **entry}


def test_components_that_change_all_the_others_come_last() -> None:
    overlay = {"resources": ["../default"], "components": ["../../components/argocd"]}
    chosen = with_choices(
        overlay, Choices(components=["selinux", "ha", "argocd", "ha"]), included=frozenset({"argocd"})
    )
    assert [Path(path).name for path in chosen["components"]] == ["ha", "selinux", "argocd"]


def test_a_chosen_image_replaces_the_overlays_own_and_leaves_others() -> None:
    overlay = {"images": [{"name": "admitlb", "digest": DIGEST}, {"name": "other", "newTag": "2"}]}
    chosen = with_choices(overlay, Choices(images={"admitlb": Image("r/a", "1")}), included=frozenset())
    assert chosen["images"] == [
        {"name": "admitlb", "newName": "r/a", "newTag": "1"},
        {"name": "other", "newTag": "2"},
    ]


def test_nothing_chosen_leaves_every_overlay_as_it_is() -> None:
    for name in overlays():
        overlay = {"resources": [name], "components": [f"../../components/{name}"]}
        assert with_choices(overlay, Choices(overlay=name), included=frozenset()) == overlay


def test_a_component_of_an_overlay_or_of_its_base_is_not_added_again(tmp_path: Path) -> None:
    for number, name in enumerate(overlays()):
        folder = write(Choices(overlay=name, components=components()), tmp_path / str(number))
        text = (folder / "kustomization.yaml").read_text()
        assert [text.count(f"components/{each}\n") for each in components()] == [1] * len(components())


def test_all_overlays_and_components_of_the_tree_may_be_chosen() -> None:
    assert set(overlays()) == {path.name for path in (ROOT / "kustomize" / "overlays").iterdir()}
    assert set(components()) == {path.name for path in (ROOT / "kustomize" / "components").iterdir()}


def test_without_kubectl_it_says_what_kubectl_is_for() -> None:
    done = CliRunner().invoke(main, ["install"], env={"PATH": os.devnull})
    assert done.exit_code == 2
    assert "kubectl is not on PATH" in done.output
    assert "install kubectl 1.21 or newer" in done.output


@pytest.mark.parametrize(
    "words",
    [
        ["--yes"],
        ["--keep-pools", "--apply"],
        ["--apply", "--remove"],
        ["--remove", "--apply", "--yes"],
        ["--", "--context", "x"],
        ["--image", "a b"],
        ["--component", "none"],
        *(["-n", name] for name in ("Lb", "lb_1", "-lb", "lb-", "a.b", "a" * 64, "lb\n", "*")),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_before_kubectl_is_looked_for(words: list[str]) -> None:
    done = CliRunner().invoke(main, ["install", *words], env={"PATH": os.devnull})
    assert done.exit_code == 2
    assert "kubectl is not on PATH" not in done.output


def test_an_old_kubectl_is_said_to_be_too_old(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'error: unknown field \"components\"' >&2\nexit 1\n")
    kubectl.chmod(0o755)
    done = CliRunner().invoke(main, ["install"], env={"PATH": f"{tmp_path}:/bin:/usr/bin"})
    assert done.exit_code == 2
    assert "unknown field" in done.output
    assert "it must be kubectl 1.21 or newer" in done.output


def applied(tmp_path: Path, image: str, *words: str) -> tuple[int, str, str]:
    """Return the exit code, what kubectl was called with, and standard error, for manifests with an image."""
    kubectl, said = tmp_path / "kubectl", tmp_path / "said"
    said.unlink(missing_ok=True)
    kubectl.write_text(f"#!/bin/sh\necho $1 >> {said}\n[ $1 = kustomize ] && echo '      - image: {image}'\nexit 0\n")
    kubectl.chmod(0o755)
    done = CliRunner().invoke(main, ["install", *words], env={"PATH": f"{tmp_path}:/bin:/usr/bin"})
    return done.exit_code, said.read_text(), done.stderr


def test_an_image_that_is_a_placeholder_is_not_applied(tmp_path: Path) -> None:
    placeholder = f"registry.example.org/admitlb@{DIGEST}"
    code, called, said = applied(tmp_path, placeholder, "--apply")
    assert (code, called) == (2, "kustomize\n")
    assert f"the overlay's image {placeholder} is a placeholder: name yours with --image" in said
    assert applied(tmp_path, placeholder) == (0, "kustomize\n", "")


def test_the_image_of_the_overlays_own_is_named_when_it_is_applied(tmp_path: Path) -> None:
    for image, option in (("admitlb:latest", "--image"), ("admitlb-frr:latest", "--frr-image")):
        note = f"Note: Pods will run {image}, which no registry has; name yours with {option}\n"
        assert applied(tmp_path, image, "--apply") == (0, "kustomize\napply\n", note)
    assert applied(tmp_path, "admitlb:1", "--apply", "--image", "admitlb:1") == (0, "kustomize\napply\n", "")
    assert applied(tmp_path, "r.io/a:1", "--apply", "--image", "r.io/a:1") == (0, "kustomize\napply\n", "")


def test_an_image_of_frr_that_no_pod_would_run_is_refused(tmp_path: Path) -> None:
    for words in ((), ("--apply",)):
        code, called, said = applied(tmp_path, "r.io/a:1", *words, "--image", "r.io/a:1", "--frr-image", "r.io/frr:1")
        assert (code, called) == (2, "kustomize\n")
        assert "--frr-image is for the component bgp, which is not chosen: add --component bgp" in said
    assert applied(tmp_path, "r.io/frr:1", "--frr-image", "r.io/frr:1")[0] == 0


@pytest.mark.parametrize("overlay", overlays())
def test_an_overlay_names_an_image_on_the_node_or_a_placeholder(overlay: str) -> None:
    kustomization = (ROOT / "kustomize" / "overlays" / overlay / "kustomization.yaml").read_text()
    for name in re.findall(r"newName: (\S+)", kustomization):
        assert "/" not in name or name.startswith(_PLACEHOLDER)


FAKE = """#!/bin/sh
echo "$1" >> SAID
[ "$1" != kustomize ] && exec cat >> SAID
printf 'kind: Namespace\\nmetadata: {name: lb}\\n---\\nkind: ValidatingWebhookConfiguration\\n'
"""


def test_nothing_is_removed_without_a_yes_and_then_webhooks_go_first(tmp_path: Path) -> None:
    kubectl, said = tmp_path / "kubectl", tmp_path / "said"
    kubectl.write_text(FAKE.replace("SAID", str(said)))
    kubectl.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    done = CliRunner().invoke(main, ["install", "--remove"], input="n\n", env=env)
    assert done.exit_code == 1
    assert "Remove 2 objects, every pool, and namespace lb with everything in it?" in done.output
    assert said.read_text().split() == ["kustomize"]
    said.unlink()
    assert CliRunner().invoke(main, ["install", "--remove"], input="y\n", env=env).exit_code == 0
    removed = ["delete", "kind:", "ValidatingWebhookConfiguration", "delete", "kind:", "Namespace"]
    assert said.read_text().split() == ["kustomize", *removed, "metadata:", "name:", "lb"]
    said.unlink()
    assert CliRunner().invoke(main, ["install", "--remove", "--yes", "--keep-pools"], env=env).exit_code == 0
    assert said.read_text().split() == ["kustomize", *removed[:3]]


STORED_BEFORE = """#!/bin/sh
echo "$1 $2" >> SAID
case "$1 $2" in
  kustomize*) printf 'kind: CustomResourceDefinition\\nmetadata: {}\\n---\\nkind: Service\\n' ;;
  "apply --dry-run=server") cat > SAID.tried; echo 'REFUSAL' >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("refusal", "applied"),
    [
        (
            'The CustomResourceDefinition "bgppeers.metallb.io" is invalid: status.storedVersions[0]: Invalid value: '
            '"v1beta1": must appear in spec.versions',
            False,
        ),
        ("the server has no dry run", True),
    ],
)
def test_versions_of_which_objects_are_stored_are_found_before_anything_is_applied(
    tmp_path: Path, refusal: str, applied: bool
) -> None:
    kubectl, said = tmp_path / "kubectl", tmp_path / "said"
    kubectl.write_text(STORED_BEFORE.replace("SAID", str(said)).replace("REFUSAL", refusal))
    kubectl.chmod(0o755)
    done = CliRunner().invoke(main, ["install", "--apply"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert ("apply -f" in said.read_text().splitlines()) is applied
    assert Path(f"{said}.tried").read_text() == "kind: CustomResourceDefinition\nmetadata: {}"
    assert (done.exit_code == 0) is applied
    if not applied:
        assert "objects of bgppeers.metallb.io may be stored as v1beta1" in done.stderr
