"""`admitlb bgp`: what concerns sessions with routers, on a live cluster."""

from __future__ import annotations

import click

from allocator.commands.bgp_roll import roll


@click.group()
def bgp() -> None:
    """BGP: sessions with routers."""


bgp.add_command(roll)
