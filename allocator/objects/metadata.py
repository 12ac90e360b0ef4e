"""metadata as written in documents, checked as the API server checks a metav1.ObjectMeta of any kind.

Kubernetes: apimachinery pkg/api/validation/objectmeta.go, pkg/util/validation. It does so by itself; offline nobody
does but us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from allocator.core.addresses import quoted
from allocator.objects.document import Document, Problem
from allocator.objects.selectors import key_problems, label_problems

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_ENDS: Final = "with a letter or digit at both ends"


class NameForm(Enum):
    """What a name may be: the pattern, how many characters at most, and both in words."""

    LABEL = (re.compile(_LABEL), 63, f"lower-case letters, digits and '-', {_ENDS}")
    """Of namespaces and Services, parts of DNS names (RFC 1123; a first digit is up to the server)."""
    SUBDOMAIN = (re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), 253, f"lower-case letters, digits, '-' and '.', {_ENDS}")
    """Of everything else (RFC 1123)."""

    def problems(self, name: str, *, prefix: bool = False) -> Iterator[str]:
        """Say what the API server would refuse in a name, or in the beginning of one that it makes up."""
        pattern, most, words = self.value
        # What is put behind it makes a last hyphen an inner one.
        whole = f"{name}a" if prefix and len(name) > 1 and name.endswith("-") else name
        if len(name) > most:
            yield f"{quoted(name)} has {len(name)} characters; use {most} at most"
        elif not pattern.fullmatch(whole):
            yield f"{quoted(name)} is no valid name; use {words}"


def metadata_problems(document: Document, form: NameForm) -> Iterator[Problem]:
    """Say what the API server would refuse in metadata whose fields are of the right types."""
    metadata: Document = document["metadata"]
    if name := metadata.get("name"):
        yield from (Problem("metadata.name", why) for why in form.problems(name))
    elif beginning := metadata.get("generateName"):
        yield from (Problem("metadata.generateName", why) for why in form.problems(beginning, prefix=True))
    if namespace := metadata.get("namespace"):
        yield from (Problem("metadata.namespace", why) for why in NameForm.LABEL.problems(namespace))
    for key, value in (metadata.get("labels") or {}).items():
        yield from (Problem(f"metadata.labels[{key}]", why) for why in label_problems(key, value))
    for key in metadata.get("annotations") or {}:
        # Of an annotation's key the server makes lower case first.
        yield from (Problem(f"metadata.annotations[{key}]", why) for why in key_problems(key.lower()))
