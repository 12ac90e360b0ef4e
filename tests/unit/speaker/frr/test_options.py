"""The supervisor's options: from the command line, else from the environment, else as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from speaker.frr.__main__ import settings


def test_without_options_an_orphan_withdraws_after_an_hour() -> None:
    found = settings([], {})

    assert found.orphan_after_seconds == 3600
    assert found.leave_wait_seconds == 2
    assert found.allow_other_frr is False
    assert found.sockets == Path("/run/admitlb/metallb-system")


def test_the_environment_sets_what_the_command_line_does_not() -> None:
    environment = {
        "ADMITLB_FRR_ORPHAN_AFTER": "0",
        "ADMITLB_ALLOW_OTHER_FRR": "true",
        "ADMITLB_FRR_SOCKETS": "/run/admitlb/lb",
    }

    found = settings(["--frr-leave-wait=5", "--frr-sockets=/run/x"], environment)

    assert (found.orphan_after_seconds, found.leave_wait_seconds) == (0, 5)
    assert found.allow_other_frr is True
    assert found.sockets == Path("/run/x")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--frr-orphan-after=-1"], {}),
        (["--frr-orphan-after=nan"], {}),
        (["--frr-leave-wait=inf"], {}),
        (["--frr-leave-wait=soon"], {}),
        (["--frr-sockets=run/admitlb"], {}),
        ([], {"ADMITLB_ALLOW_OTHER_FRR": "perhaps"}),
        ([], {"ADMITLB_FRR_ORPHAN_AFTER": "1h"}),
    ],
)
def test_what_is_no_value_is_refused(arguments: list[str], environment: dict[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(arguments, environment)

    assert ended.value.code == 2
