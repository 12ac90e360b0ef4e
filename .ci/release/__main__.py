"""`make release`: build everything, and say which commands publish it. Nothing here pushes, tags or signs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

from allocator.installation.image import Image, NotAnImage
from allocator.installation.kubectl import KubectlFailed
from release.artefacts import SUMS, BuildFailed, Release
from release.project import ROOT, commit_time, obstacles, settings

MACHINES = ("amd64", "arm64")
"""The architectures there are images for."""
_TARGETS = {"admitlb": "image", "admitlb-frr": "image-frr"}
"""The targets of the Makefile that build the images."""


def _repository(ctx: click.Context, param: click.Parameter, text: str) -> str:
    try:
        image = Image.parse(text)
    except NotAnImage:
        image = None
    if image is None or image.tag or image.digest:
        raise click.BadParameter(
            f"{text!r} is no repository; write it as registry.example.com/admitlb, without a tag", ctx, param
        )
    return text


@click.command()
@click.option("--repository", required=True, callback=_repository, help="Where the image is pushed, without a tag.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "dist", show_default="dist")
@click.option("--dry-run", is_flag=True, help="Build no image, and release what is not committed or not named.")
def main(repository: str, out: Path, dry_run: bool) -> None:
    """Build the files of a release and its images for every architecture. Exit code 1: it cannot be released."""
    release = Release(settings()["version"], repository, commit_time(), out)
    found = list(obstacles(release.version))
    for obstacle in found:
        click.echo(f"{'warning' if dry_run else 'error'}: {obstacle}", err=True)
    if found and not dry_run:
        raise SystemExit(1)
    try:
        release.build()
    except (BuildFailed, KubectlFailed) as error:
        raise click.ClickException(str(error)) from error
    for command in _image_builds(release):
        if dry_run:
            click.echo(f"not run: {' '.join(command)}")
        else:
            subprocess.run(command, cwd=ROOT, check=True)
    click.echo(f"\n{out}:")
    for line in (out / SUMS).read_text().splitlines():
        click.echo(f"  {line.partition('  ')[2]}")
    click.echo("\nTo publish (docs/releasing.md):")
    for line in _publishing(release):
        click.echo(f"  {line}")


def _image_builds(release: Release) -> Iterator[list[str]]:
    for name, image in release.images.items():
        for machine in MACHINES:
            tagged = f"IMAGE={image.name}:{image.tag}-{machine}"
            yield ["make", _TARGETS[name], tagged, f"IMAGE_ARGS=--platform=linux/{machine}"]


def _publishing(release: Release) -> Iterator[str]:
    for image in release.images.values():
        reference = f"{image.name}:{image.tag}"
        parts = [f"{reference}-{machine}" for machine in MACHINES]
        for part in parts:
            yield f"$TOOL push {part}"
        yield f"$TOOL manifest create {reference} {' '.join(parts)}"
        yield f"$TOOL manifest push {reference}"
    yield f"gpg --armor --detach-sign {release.folder / SUMS}"
    yield f"git tag --sign v{release.version} --message 'AdmitLB {release.version}'"
    yield f"git push origin v{release.version}"


if __name__ == "__main__":
    main()
