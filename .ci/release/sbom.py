"""The bill of materials of an image: what the lock and the Dockerfiles pin, as CycloneDX 1.5.

Our own code instead of cyclonedx-bom: it brings a dozen packages, and of a lock it knows neither which lines are for
Linux nor any licence. Here licences come from the packages that the tests run with, which are the locked ones.
What the base image has of its own is in no lock: an image scanner lists it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement

from allocator.installation.image import Image

Document = dict[str, Any]

_IMAGE = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "extra": ""}
_CLASSIFIER = "License :: OSI Approved :: "


def python_components(lock: str, *, machine: str = "x86_64") -> list[Document]:
    """Return the packages of a pip lock file that are installed on Linux, with the hashes of their files."""
    image = {**_IMAGE, "platform_machine": machine}
    return [
        _python(requirement, hashes)
        for requirement, hashes in _locked(lock)
        if requirement.marker is None or requirement.marker.evaluate(image)
    ]


def debian_components(dockerfile: str) -> list[Document]:
    """Return what a Dockerfile installs of Debian in a version that it pins (`ARG NAME_VERSION=…`)."""
    pinned = re.findall(r"^ARG (\w+)_VERSION=(\S+)", dockerfile, re.M)
    return [_component(name.lower(), version, f"pkg:deb/debian/{name.lower()}") for name, version in pinned]


def document(*, image: Image, licence: str, components: Sequence[Document], at: int) -> Document:
    """Return the whole bill; `at` in seconds since 1970. The same input gives the same document."""
    time = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = f"{image.name}:{image.tag}"
    parts = [one["bom-ref"] for one in components]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{reference} {time} {parts}")
    subject = {
        "type": "container",
        "bom-ref": reference,
        "name": image.name,
        "version": image.tag,
        "licenses": [{"expression": licence}],
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": time, "component": subject},
        "components": list(components),
        "dependencies": [{"ref": reference, "dependsOn": parts}],
    }


def _locked(lock: str) -> Iterator[tuple[Requirement, list[str]]]:
    for block in re.split(r"\n(?=[A-Za-z])", lock.replace("\\\n", " ")):
        if "==" in block and not block.startswith("#"):
            text, *hashes = re.split(r"\s+--hash=sha256:", block.strip())
            yield Requirement(text), hashes


def _python(requirement: Requirement, hashes: Sequence[str]) -> Document:
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    (specifier,) = requirement.specifier
    component = _component(name, specifier.version, f"pkg:pypi/{name}")
    if licence := _licence(name, specifier.version):
        component["licenses"] = [licence]
    component["externalReferences"] = [
        {
            "type": "distribution",
            "url": f"https://pypi.org/project/{name}/{specifier.version}/#files",
            "hashes": [{"alg": "SHA-256", "content": one} for one in hashes],
        }
    ]
    return component


def _component(name: str, version: str, package: str) -> Document:
    purl = f"{package}@{quote(version, safe='')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _licence(name: str, version: str) -> Document | None:
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return None
    if found["Version"] != version:
        return None
    fields = found.json
    if expression := fields.get("license_expression"):
        return {"expression": str(expression)}
    classifiers = [one.removeprefix(_CLASSIFIER) for one in fields.get("classifier", ()) if _CLASSIFIER in one]
    # The field of before 2024 may hold a name or the whole text.
    names = [one for one in (*classifiers, str(fields.get("license") or "")) if one and "\n" not in one]
    return {"license": {"name": names[0]}} if names else None
