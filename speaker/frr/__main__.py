"""`python3 -m speaker.frr`: run FRR on this node. Each option has an environment variable, `ADMITLB_FRR_...`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from speaker.frr.daemons import CannotStart
from speaker.frr.start_checks import OVERRIDE
from speaker.frr.supervisor import Settings, Supervisor

_REFUSED = 1
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


def settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the options; what is not given comes from the environment. Ends the process where that is no value."""
    parser = argparse.ArgumentParser(prog="python3 -m speaker.frr", description="Run FRR on this node.")

    def variable(name: str, default: str) -> str:
        return environment.get(f"ADMITLB_{name}", default)

    parser.add_argument(
        "--frr-sockets",
        type=Path,
        default=variable("FRR_SOCKETS", "/run/admitlb/metallb-system"),
        help="folder for the daemons' sockets, shared with the speaker",
    )
    parser.add_argument(
        "--frr-orphan-after",
        type=_seconds,
        default=variable("FRR_ORPHAN_AFTER", "3600"),
        help="seconds without a speaker after which all prefixes are withdrawn; 0 for never",
    )
    parser.add_argument(
        "--frr-leave-wait",
        type=_seconds,
        default=variable("FRR_LEAVE_WAIT", "2"),
        help="seconds that routers have to prefer other nodes before a planned leave withdraws the prefixes",
    )
    parser.add_argument(
        OVERRIDE,
        action=argparse.BooleanOptionalAction,
        default=_truth(parser, variable("ALLOW_OTHER_FRR", "")),
        help="start although another FRR, or routes that one entered, are on this node",
    )
    given = parser.parse_args(arguments)
    if not given.frr_sockets.is_absolute():
        parser.error(f"--frr-sockets: {given.frr_sockets} is no absolute path")
    return Settings(
        sockets=given.frr_sockets,
        orphan_after_seconds=given.frr_orphan_after,
        leave_wait_seconds=given.frr_leave_wait,
        allow_other_frr=given.allow_other_frr,
    )


def main() -> int:
    """Run until a signal ends it."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        return Supervisor(settings(sys.argv[1:], os.environ)).run()
    except CannotStart as error:
        logging.getLogger("frr").error("%s", error)
        return _REFUSED


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


def _truth(parser: argparse.ArgumentParser, text: str) -> bool:
    if text.lower() not in _YES + _NO:
        parser.error(f"ADMITLB_ALLOW_OTHER_FRR: {text!r} is neither true nor false")
    return text.lower() in _YES


if __name__ == "__main__":
    sys.exit(main())
