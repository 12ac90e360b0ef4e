"""References to images, as kustomize takes them apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_NAME = r"(?:[\w.-]+(?::\d+)?/)?[a-z\d._/-]+"
_REFERENCE = re.compile(rf"(?P<name>{_NAME})(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[\da-f]{{64}}))?")


class NotAnImage(ValueError):
    """A text is no reference to an image; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image by name and tag, digest or both; without either a runtime takes the tag `latest`."""

    name: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name[:tag][@digest]` (distribution/reference, without its rarer forms). Raises NotAnImage."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise NotAnImage(
                f"{text!r} is no image; write it as registry.example.com/admitlb:0.1.0, or with @sha256: and 64 hex "
                "digits in place of the tag"
            )
        return cls(match["name"], match["tag"] or "", match["digest"] or "")

    def override(self, of: str) -> dict[str, str]:
        """Return the entry of a kustomization's `images` that puts this one in the place of the image `of`."""
        # kustomize takes a digest or a tag, not both; a digest alone always names one image.
        version = {"digest": self.digest} if self.digest else {"newTag": self.tag or "latest"}
        return {"name": of, "newName": self.name, **version}
