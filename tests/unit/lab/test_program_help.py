"""Flags and feature gates are chosen by what a program's help lists, whichever version it is."""

from __future__ import annotations

from tests.lab.program_help import read_help

OLDEST = """
Generic flags:

      --feature-gates mapStringBool              A set of key=value pairs that describe feature gates. Options are:
                                                 IPv6DualStack=true|false (ALPHA - default=false)
                                                 MixedProtocolLBService=true|false (ALPHA - default=false)
                                                 ServiceTopology=true|false (ALPHA - default=false)

Insecure serving flags:

      --port int    The port on which to serve unsecured access (default 10252) (DEPRECATED)
  -h, --help        help for kube-controller-manager
"""

IN_BETWEEN = """
      --feature-gates mapStringBool              A set of key=value pairs that describe feature gates. Options are:
                                                 IPv6DualStack=true|false (BETA - default=true)
                                                 ServiceLoadBalancerClass=true|false (ALPHA - default=false)
      --logging-format string    Sets the log format.
"""

NEWEST = """
      --emulated-version strings                 The versions different components emulate their capabilities.
      --feature-gates colonSeparatedMultimapStringString   Comma-separated list of component:key=value pairs. Options:
                                                 kube:APIResponseCompression=true|false (BETA - default=true)
                                                 kube:MixedProtocolLBService=true|false (BETA - default=false)
      --logging-format string    Sets the log format.
"""


def test_a_gate_that_is_off_by_default_is_opened() -> None:
    assert read_help(OLDEST).gates_to_open() == ["--feature-gates=IPv6DualStack=true,MixedProtocolLBService=true"]


def test_a_gate_that_is_on_or_gone_is_not_named() -> None:
    assert read_help(IN_BETWEEN).gates_to_open() == ["--feature-gates=ServiceLoadBalancerClass=true"]
    assert read_help(NEWEST).gates_to_open(["APIResponseCompression", "IPv6DualStack"]) == []


def test_a_gate_is_found_under_its_components_name() -> None:
    assert read_help(NEWEST).gates_to_open() == ["--feature-gates=MixedProtocolLBService=true"]


def test_a_flag_that_a_version_lacks_is_left_out() -> None:
    assert read_help(OLDEST).only_known(port="0", emulated_version="1.30") == ["--port=0"]
    assert read_help(NEWEST).only_known(port="0", emulated_version="1.30") == ["--emulated-version=1.30"]
