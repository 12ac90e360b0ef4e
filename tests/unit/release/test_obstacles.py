"""What keeps a checkout from being released."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from release import project


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that may be released as 1.2.3."""
    monkeypatch.setattr(project, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-30\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(checkout: Path, *words: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *words], cwd=checkout, check=True, capture_output=True)


def commit(checkout: Path) -> None:
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "one")


def obstacles(version: str = "1.2.3") -> str:
    return "\n".join(project.obstacles(version))


def test_a_clean_checkout_whose_changelog_names_the_version_is_released_once_and_again(checkout: Path) -> None:
    assert obstacles() == ""
    git(checkout, "tag", "v1.2.3")
    assert obstacles() == ""


def test_what_is_not_committed_is_not_released(checkout: Path) -> None:
    (checkout / "new.py").touch()
    assert "files are changed or untracked (?? new.py): commit or remove them" in obstacles()


def test_a_version_is_released_of_one_commit(checkout: Path) -> None:
    git(checkout, "tag", "v1.2.3")
    commit(checkout)
    assert "tag v1.2.3 names another commit: raise `version` in pyproject.toml" in obstacles()


def test_the_changelog_names_the_version(checkout: Path) -> None:
    assert "CHANGELOG.md has no section `## [1.2]`" in obstacles("1.2")
