"""The files of a release: the wheel, manifests for every overlay, bills of materials, checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from allocator.installation.image import Image
from allocator.installation.kubectl import Kubectl
from allocator.installation.overlay import Choices, overlays, write
from release import sbom
from release.project import ROOT

SUMS = "SHA256SUMS"


class BuildFailed(Exception):
    """A part of the release could not be built; the message is what the builder said."""


@dataclass(frozen=True, slots=True)
class Release:
    """What is released, under which names; `at` is the commit's time in seconds since 1970."""

    version: str
    repository: str
    at: int
    folder: Path

    @property
    def images(self) -> dict[str, Image]:
        """The images by the names that the manifests give them."""
        return {
            "admitlb": Image(self.repository, self.version),
            "admitlb-frr": Image(f"{self.repository}-frr", self.version),
        }

    def build(self) -> None:
        """Make every file but the images, in an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._wheel()
        for overlay in overlays():
            (self.folder / f"install-{overlay}.yaml").write_text(self._manifests(overlay))
        for name, bill in self._bills():
            (self.folder / name).write_text(json.dumps(bill, indent=2) + "\n")
        (self.folder / SUMS).write_text(_sums(self.folder))

    def _wheel(self) -> None:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(self.at), "PYTHONHASHSEED": "0"}
        with TemporaryDirectory() as work:
            # In folders of its own: what an earlier build left in build/ would be packed as well.
            build = ["setup.py", "egg_info", "--egg-base", work, "build", "--build-base", f"{work}/build"]
            build += ["bdist_wheel", "--bdist-dir", f"{work}/tree", "--dist-dir", str(self.folder)]
            done = subprocess.run(
                [sys.executable, *build], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise BuildFailed(f"the wheel was not built:\n{done.stderr}")

    def _manifests(self, overlay: str) -> str:
        with TemporaryDirectory() as work:
            rendered = Kubectl().render(write(Choices(overlay=overlay, images=self.images), Path(work).resolve()))
        return f"# AdmitLB {self.version}, overlay {overlay}\n{rendered}"

    def _bills(self) -> Iterator[tuple[str, sbom.Document]]:
        lock, frr = (ROOT / "requirements.lock").read_text(), (ROOT / "Dockerfile.frr").read_text()
        found = {
            "admitlb": ("Apache-2.0", sbom.python_components(lock)),
            "admitlb-frr": ("GPL-2.0-or-later AND Apache-2.0", sbom.debian_components(frr)),
        }
        for name, (licence, components) in found.items():
            yield (
                f"sbom-{name}.cdx.json",
                sbom.document(image=self.images[name], licence=licence, components=components, at=self.at),
            )


def _sums(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
