"""What has to be so before FRR may start on a node."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

from speaker.bgp import pod_release
from speaker.frr.daemons import CannotStart
from speaker.frr.presence import other_frr
from speaker.frr.unix_sockets import read_sockets

GROUP = "frrvty"
_MODE = 0o770
_SECONDS = 60.0

_PROTOCOLS = {
    11: "zebra",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    190: "ripng",
    191: "nhrp",
    192: "eigrp",
    193: "ldp",
    194: "sharp",
    195: "pbr",
    196: "static",
    197: "openfabric",
    198: "srte",
}
"""As what FRR enters routes into the kernel (zebra/rt_netlink.h); zebra removes such routes at its start."""

OVERRIDE = "--allow-other-frr"


def socket_folder(folder: Path) -> int:
    """Make the folder of sockets fit for the daemons and the speaker; return the number of their common group.

    The release that this Pod is of is left in it.

    It is never removed, since the speaker's mount of it would go on showing the removed one. Raises CannotStart.
    """
    group = grp.getgrnam(GROUP).gr_gid
    if group not in {os.getegid(), *os.getgroups()}:
        raise CannotStart(
            f"the group {GROUP} of this image is {group}, which is not among this Pod's supplementalGroups: write "
            f"supplementalGroups: [{group}] in the Pods of frr and of the speaker"
        )
    user = pwd.getpwnam("frr").pw_uid
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = folder.stat()
        if (found.st_uid, found.st_gid, found.st_mode & 0o7777) != (user, group, _MODE):
            # Without the capability FOWNER only the owner changes a mode.
            os.chown(folder, os.geteuid(), -1)
            folder.chmod(_MODE)
            os.chown(folder, user, group)
        pod_release.write(folder)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be made ready for FRR's sockets: {error}") from error
    return group


def nothing_of_frr(sockets: Path) -> None:
    """Make sure that no other FRR runs here, and that zebra would remove no route. Raises CannotStart."""
    if others := other_frr(read_sockets(), sockets):
        raise CannotStart(
            f"another FRR runs on this node: {', '.join(others)}. Two cannot share the kernel's routes: remove it "
            f"(MetalLB's speaker in FRR mode and frr-k8s bring one), exclude the node, or set {OVERRIDE}"
        )
    if routes := _routes_of_frr():
        raise CannotStart(
            f"the kernel has routes that an FRR entered ({'; '.join(routes)}), and zebra would remove them at its "
            f"start: remove them if nothing needs them, exclude the node, or set {OVERRIDE}"
        )


def _routes_of_frr() -> list[str]:
    found = []
    for number, name in _PROTOCOLS.items():
        for family in ("-4", "-6"):
            answer = subprocess.run(
                ["ip", family, "route", "show", "table", "all", "proto", str(number)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            if answer.returncode != 0:
                raise CannotStart(f"the kernel's routes cannot be read: {answer.stderr.strip()}")
            if lines := answer.stdout.splitlines():
                found.append(f"{len(lines)} of {name}, one is {lines[0].split(' proto ')[0].strip()}")
    return found
