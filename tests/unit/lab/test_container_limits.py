"""What a container may do follows from two security contexts, as on any node."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.lab.container import needed_to_read, private_folders
from tests.lab.container_limits import DEFAULT_CAPABILITIES, Limits, limits
from tests.lab.container_spec import Unsupported
from tests.lab.images import name_without_tag


def read(
    own: dict[str, Any], of_pod: dict[str, Any] | None = None, *, image_user: tuple[int, int] = (0, 0)
) -> Limits:
    return limits({"name": "web", "securityContext": own}, {"securityContext": of_pod or {}}, image_user=image_user)


def test_a_container_that_asks_for_nothing_is_root_with_the_usual_capabilities() -> None:
    allowed = limits({"name": "web"}, {})

    assert (allowed.user, allowed.group, allowed.groups) == (0, 0, ())
    assert allowed.capabilities == DEFAULT_CAPABILITIES
    assert not allowed.no_new_privileges
    assert not allowed.read_only_root


def test_the_containers_word_counts_before_its_pods() -> None:
    allowed = read({"runAsUser": 7}, {"runAsUser": 5, "runAsGroup": 6})

    assert (allowed.user, allowed.group) == (7, 6)


def test_the_image_names_the_user_where_the_pod_does_not() -> None:
    assert read({}, image_user=(9, 8)).user == 9
    assert read({"runAsUser": 7}, image_user=(9, 8)).group == 0


def test_the_group_of_the_volumes_is_one_of_its_groups() -> None:
    assert read({}, {"fsGroup": 5, "supplementalGroups": [4]}).groups == (4, 5)


def test_capabilities_are_dropped_before_others_are_added() -> None:
    assert read({"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}).capabilities == frozenset({"NET_RAW"})
    assert read({"capabilities": {"drop": ["CAP_CHOWN"]}}).capabilities == DEFAULT_CAPABILITIES - {"CHOWN"}


def test_the_default_seccomp_profile_may_be_the_pods_wish_and_not_the_containers() -> None:
    default, none = {"seccompProfile": {"type": "RuntimeDefault"}}, {"seccompProfile": {"type": "Unconfined"}}

    assert read({}, default).default_seccomp
    assert not read(none, default).default_seccomp
    assert not read({}).default_seccomp


def test_a_privileged_container_is_bounded_by_nothing() -> None:
    assert read({"privileged": True}).capabilities is None


def test_a_container_that_must_not_be_root_is_not_started_as_root() -> None:
    with pytest.raises(Unsupported, match="would run as root"):
        read({"runAsNonRoot": True})

    assert read({"runAsNonRoot": True}, image_user=(9, 9)).user == 9


def test_the_outermost_folder_around_a_checkout_that_not_everybody_may_enter_is_found(tmp_path: Path) -> None:
    checkout = tmp_path / "private" / "checkout"
    checkout.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)

    (found,) = private_folders([checkout])

    assert found in checkout.parents
    assert not found.stat().st_mode & stat.S_IXOTH
    assert all(folder.stat().st_mode & stat.S_IXOTH for folder in found.parents)


def test_a_checkout_that_is_its_owners_alone_needs_a_capability_to_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    assert needed_to_read([tmp_path]) == ["DAC_READ_SEARCH"]
    assert needed_to_read([Path("/usr")]) == []


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("admitlb", "admitlb"),
        ("admitlb:latest", "admitlb"),
        ("registry:5000/admitlb", "registry:5000/admitlb"),
        ("registry:5000/admitlb:1.2@sha256:00", "registry:5000/admitlb"),
    ],
)
def test_a_tag_is_no_part_of_an_images_name(image: str, name: str) -> None:
    assert name_without_tag(image) == name
