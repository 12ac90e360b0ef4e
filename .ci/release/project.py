"""The project as this checkout has it: version, commit, changelog."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def settings() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return loaded


def commit_time() -> int:
    """Return the time of the last commit in seconds since 1970: what is built twice of it has one time."""
    return int(git("log", "-1", "--format=%ct"))


def git(*words: str) -> str:
    """Return what git prints, without the space around it."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def obstacles(version: str) -> Iterator[str]:
    """Say what keeps this checkout from being released, each with its remedy."""
    if changed := git("status", "--porcelain"):
        yield f"files are changed or untracked ({changed.splitlines()[0].strip()}): commit or remove them"
    tag = f"v{version}"
    if git("tag", "--list", tag) and git("rev-parse", f"{tag}^{{commit}}") != git("rev-parse", "HEAD"):
        yield f"tag {tag} names another commit: raise `version` in pyproject.toml"
    if not changelog_has(version, (ROOT / "CHANGELOG.md").read_text()):
        yield f"CHANGELOG.md has no section `## [{version}]`: name what is under Unreleased"


def changelog_has(version: str, changelog: str) -> bool:
    """Tell whether the changelog has a section of this version."""
    return re.search(rf"^## \[{re.escape(version)}\]", changelog, re.M) is not None
