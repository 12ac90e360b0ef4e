"""The image of the DaemonSet `frr` as the lab's nodes have it: Debian's packages and what Dockerfile.frr adds."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from tests.lab.container import PROJECT
from tests.lab.debian_root import DebianRoot, find_root
from tests.lab.images import Image
from tests.lab.privileges import can_be_anybody

NAME = "admitlb-frr"
SUITE, PACKAGES = "trixie", ("frr", "python3")
"""Of Dockerfile.frr's base, and what it installs."""

_DOCKERFILE = PROJECT / "Dockerfile.frr"
_GROUP = re.compile(r"groupadd --system --gid (\d+) (\w+)")
_USER = re.compile(r"useradd --system --uid (\d+) ")
_MOUNT_POINTS = ("run/frr", "run/admitlb", "var/lib/frr", "var/tmp")


def find_frr_image(folder: Path) -> Image | None:
    """Return the image, its own files written below `folder`; None where set-up could not fetch the packages."""
    root = find_root(SUITE, PACKAGES)
    return _image(root, folder) if root is not None else None


def copy_supervisor(root: Path) -> None:
    """Do what the COPY lines of Dockerfile.frr do."""
    for line in _DOCKERFILE.read_text().splitlines():
        if not line.startswith("COPY "):
            continue
        *sources, target = shlex.split(line)[1:]
        place = root / target.lstrip("/")
        for source in sources:
            if (PROJECT / source).is_dir():
                shutil.copytree(PROJECT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / source, place)


def _image(root: DebianRoot, folder: Path) -> Image:
    text = _DOCKERFILE.read_text()
    copy_supervisor(folder)
    (folder / "etc").mkdir(exist_ok=True)
    groups = {name: int(number) for number, name in _GROUP.findall(text)}
    user = int(_USER.findall(text)[0])
    if not can_be_anybody():
        groups, user = dict.fromkeys(groups, 0), 0
    (folder / "etc" / "passwd").write_text(
        f"root:x:0:0:root:/:/bin/sh\nfrr:x:{user}:{groups['frr']}::/nonexistent:/usr/sbin/nologin\n"
    )
    (folder / "etc" / "group").write_text(f"root:x:0:\nfrr:x:{groups['frr']}:\nfrrvty:x:{groups['frrvty']}:frr\n")
    for name in _MOUNT_POINTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    for line in text.splitlines():
        if line.startswith("ENV "):
            environment |= dict(word.split("=", 1) for word in shlex.split(line)[1:])
    return Image(root=root.path, layer=folder, environment=environment, entrypoint=(), user=(0, 0))
