"""What is in the image, and what is not."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from tests.image.sizes import sizes
from tests.lab.container import PROJECT
from tests.lab.images import Image

MEGABYTES = 180
OUT_OF_DATE_MEGABYTES = 2.0
SPECIAL_TO_THIS_MACHINE = ("PIP_", "PROXY", "INDEX", "CERT")


def files(image: Image) -> Iterator[Path]:
    """Every file, folder and link of the image."""
    return image.root.rglob("*")


def test_it_is_small(image: Image) -> None:
    size = sum(path.lstat().st_size for path in files(image) if not path.is_dir() or path.is_symlink())

    print(f"the image unpacked: {size / 1e6:.0f} MB")
    assert size < MEGABYTES * 1e6


def test_releasing_lists_what_it_is_made_of(image: Image) -> None:
    page = (PROJECT / "docs/releasing.md").read_text()
    listed = dict(re.findall(r"^\| ([A-Za-z][^|]*) \| ([0-9.]+) \|", page, re.M))
    real = {part: size / 1e6 for part, size in sizes(image.root).items()}

    assert set(listed) - {"all"} == {part for part, size in real.items() if size >= 0.1}
    for part, size in real.items():
        assert abs(float(listed.get(part, 0)) - size) < OUT_OF_DATE_MEGABYTES, part


def test_it_is_nobodys_unless_a_manifest_says_otherwise(image: Image) -> None:
    assert image.user == (65534, 65534)


def test_no_file_gives_privileges_and_none_but_temporary_ones_can_be_changed_by_its_user(image: Image) -> None:
    for path in files(image):
        status = path.lstat()
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert (status.st_uid, status.st_gid) == (0, 0), path
        if not stat.S_ISLNK(status.st_mode) and path != image.root / "tmp":
            assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_there_is_no_shell_no_package_manager_and_no_compiler(image: Image) -> None:
    unwanted = re.compile(
        r"(ba|da|z)?sh|busybox|perl|pip[0-9.]*|apt(-get)?|dpkg|gcc|cc|ld|as|make|curl|wget|su|mount"
    )
    programs = {path.name for path in files(image) if path.parent.name in ("bin", "sbin") and not path.is_dir()}

    assert {name for name in programs if unwanted.fullmatch(name)} == set()
    assert {name for name in programs if not name.startswith("python")} == {
        "admitlb",
        "kubectl-admitlb",
        "kubectl_complete-admitlb",
    }


def test_python_comes_without_pip_and_without_tests(image: Image) -> None:
    unwanted = {"pip", "ensurepip", "setuptools", "test", "tests", "idlelib"}

    assert [path for path in files(image) if path.is_dir() and path.name in unwanted] == []


def test_the_packages_are_exactly_those_of_the_lock(image: Image) -> None:
    locked = {
        line.split("==")[0]: line.split("==")[1].split()[0]
        for line in (PROJECT / "requirements.lock").read_text().splitlines()
        if "==" in line and "win32" not in line
    }
    installed = {}
    for path in image.root.glob("opt/admitlb/lib/python3*/site-packages/*.dist-info/METADATA"):
        headers = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
        installed[re.sub(r"[-_.]+", "-", str(headers["Name"])).lower()] = str(headers["Version"])

    assert "admitlb" in installed
    assert {name: version for name, version in installed.items() if name != "admitlb"} == locked


def test_nothing_of_the_machine_that_built_it_is_left(image: Image) -> None:
    assert [name for name in image.environment if any(word in name for word in SPECIAL_TO_THIS_MACHINE)] == []
    assert [path for path in files(image) if path.name in ("pip.conf", "ca-certificates.crt")] == []
    assert [path for path in (image.root / "tmp").iterdir()] == []
    own = image.root / "opt/admitlb"
    naming_the_checkout = [
        path
        for path in own.rglob("*")
        if path.is_file() and str(PROJECT).encode() in path.read_bytes() and path.suffix != ".so"
    ]
    assert naming_the_checkout == []


def test_the_same_sources_make_the_same_image(images: dict[str, Image]) -> None:
    first, second = (fingerprints(each) for each in images.values())

    assert sorted(name for name in first | second if first.get(name) != second.get(name)) == []


def fingerprints(image: Image) -> dict[str, str]:
    """What each file is: its kind, mode, owner, time and content, by its name."""
    found = {}
    for path in files(image):
        status = path.lstat()
        content = b""
        if path.is_symlink():
            content = str(path.readlink()).encode()
        elif path.is_file():
            content = path.read_bytes()
        traits = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {status.st_mtime_ns}"
        found[str(path.relative_to(image.root))] = f"{traits} {hashlib.sha256(content).hexdigest()}"
    return found
