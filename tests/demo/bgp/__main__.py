"""`python -m tests.lab.enter -- python -m tests.demo.bgp`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from tests.demo.bgp.walk import BgpWalk
from tests.demo.narration import DoesNotHold, Narrator
from tests.lab.frr_image import NAME, find_frr_image
from tests.lab.lab import Lab
from tests.lab.routers import NoRouters, Routers

_LOG_LINES = 12
_NOT_HERE = 2


@click.command()
def main() -> None:
    """Walk through BGP, on a real cluster in a box with two routers; exit 1 at the first step that does not hold."""
    narrator = Narrator(Console())
    with tempfile.TemporaryDirectory(prefix="admitlb-frr-image-") as folder:
        image = find_frr_image(Path(folder))
        if image is None:
            _give_up("FRR's image is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
        with Lab(images={NAME: image}) as lab:
            try:
                with Routers(lab, bfd=True) as routers:
                    _show_cluster(lab, narrator)
                    BgpWalk(lab, routers, narrator).all_steps()
            except NoRouters as error:
                _give_up(str(error))
            except DoesNotHold:
                _show_logs(lab, narrator)
                sys.exit(1)
    narrator.summary()


def _show_cluster(lab: Lab, narrator: Narrator) -> None:
    with narrator.step("A cluster in a box, two routers beside it, and a client behind these"):
        narrator.tell(
            "BIRD 2 and FRR are routers of two vendors on the nodes' LAN. Each knows the nodes' addresses and"
        )
        narrator.tell("nothing of the cluster. The client has half of its connections go through each.")
        narrator.measured("cluster ready after", f"{lab.start_seconds:.1f} s")


def _show_logs(lab: Lab, narrator: Narrator) -> None:
    for path in lab.log_files():
        if "metallb-system_" in path.parent.name or "router" in path.parent.name:
            narrator.plain(f"\n{path.parent.name}/{path.stem}:")
            narrator.plain("\n".join(path.read_text(errors="replace").splitlines()[-_LOG_LINES:]))


def _give_up(why: str) -> NoReturn:
    click.echo(why, err=True)
    sys.exit(_NOT_HERE)


if __name__ == "__main__":
    main()
