"""The manifests and overlays that come with the code: of a checkout, or the copy that a build puts beside this file.

There is one copy in the source tree, at its top; setup.py copies it into the package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGED = Path(__file__).parent
_CHECKOUT = Path(__file__).parents[2]


def _folder(name: str) -> Path:
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _CHECKOUT / name


MANIFESTS: Final = _folder("manifests")
KUSTOMIZE: Final = _folder("kustomize")
"""Not there in an image, which has no kubectl to render with."""
