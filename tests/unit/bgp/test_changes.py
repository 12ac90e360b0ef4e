"""From one configuration to another: complete, harmless at each step, and silent about passwords."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.changes import changes
from allocator.bgp.command import HIDDEN, Daemon, apply
from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import Config, class_name, numbers
from allocator.bgp.inputs import Password, Peer
from allocator.bgp.rendering import Rendering, render
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, merged, prefix_of
from allocator.core.addresses import Address, Family
from speaker.bgp.running_config import read
from tests.unit.bgp import random_desired

PEER = Peer(name="tor", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1"), router_id="192.0.2.9")
PLAIN = merged([Contribution(Attributes())])
ADDRESS = Address.parse("198.51.100.1")


def desired(*peers: Peer, prefixes: dict[Prefix, RouteClass] | None = None) -> Desired:
    return Desired({peer.name: peer for peer in peers}, {}, prefixes or {})


@given(st.lists(random_desired.desired, min_size=1, max_size=4))
@settings(max_examples=30)
def test_commands_lead_from_one_configuration_to_the_next(states: list[Desired]) -> None:
    present = Config()
    for state in states:
        wanted = render(state, present)
        for command in changes(present, wanted):
            apply(present, command, wanted)
        assert (present.lines, present.networks) == (wanted.lines, wanted.networks)
        assert not changes(present, wanted)


@given(st.lists(random_desired.desired, min_size=2, max_size=4))
@settings(max_examples=30)
def test_at_each_step_what_is_used_is_there_and_no_class_in_use_is_edited(states: list[Desired]) -> None:
    present = Config()
    for state in states:
        wanted = render(state, present)
        for command in changes(present, wanted):
            in_use = set(present.networks.values())
            edited = command.key[:2] and command.key[0] == "route-map" and command.key[1] in in_use
            assert not edited, command
            apply(present, command, wanted)
            maps = {key[1] for key in present.lines if key[0] == "route-map"}
            assert set(present.networks.values()) <= maps, command
            used = {str(line).split()[1] for key, line in present.lines.items() if key[-1].startswith("route-map ")}
            assert used - {"route-map"} <= maps | {"delay-timer"}, command


@given(st.lists(random_desired.desired, min_size=1, max_size=5))
@settings(max_examples=30)
def test_rendering_difference_by_difference_is_rendering_the_whole(states: list[Desired]) -> None:
    rendering = Rendering()
    present = Config()
    known: dict[Prefix, RouteClass] = {}
    for state in states:
        prefixes = {prefix: state.prefixes.get(prefix) for prefix in {*known, *state.prefixes}}
        known = dict(state.prefixes)
        rendering.update(Difference(state.sessions, state.profiles, prefixes))
        touched = rendering.take_touched()
        now = rendering.config(present)
        whole = render(state, present)
        assert (now.lines, now.networks) == (whole.lines, whole.networks)
        assert {
            key for key in present.networks | now.networks if present.networks.get(key) != now.networks.get(key)
        } <= (touched)
        present = now.copy()


def test_one_prefix_is_one_command_whatever_others_there_are() -> None:
    many = {prefix_of(Address(Family.IPV4, ADDRESS.value + 2 * number), 32): PLAIN for number in range(1000)}
    present = render(desired(PEER, prefixes=many))
    for offset in (-1, 999, 2001):
        extra = prefix_of(Address(Family.IPV4, ADDRESS.value + offset), 32)
        wanted = render(desired(PEER, prefixes={**many, extra: PLAIN}), present)
        assert [command.text for command in changes(present, wanted)] == [
            f"network {extra} route-map {class_name(PLAIN)}"
        ]


def test_changed_attributes_make_a_new_class_and_touch_no_neighbour() -> None:
    prefixes = {prefix_of(ADDRESS, 32): PLAIN, prefix_of(ADDRESS, 24): PLAIN}
    present = render(desired(PEER, prefixes=prefixes))
    changed = merged([Contribution(Attributes(communities=frozenset({(64500, 1)})))])
    wanted = render(desired(PEER, prefixes=dict.fromkeys(prefixes, changed)), present)
    commands = changes(present, wanted)
    assert not [command for command in commands if command.resets or command.key[:1] == ("neighbor",)]
    assert [command.text for command in commands if command.network is not None] == [
        f"network {prefix} route-map {class_name(changed)}" for prefix in sorted(prefixes)
    ]
    assert commands[-1].text == f"no route-map {class_name(PLAIN)}"


def test_classes_that_differ_in_what_all_peers_are_told_share_one_entry_of_each_neighbour() -> None:
    classes = [merged([Contribution(Attributes(med=number))]) for number in range(20)]
    prefixes = {prefix_of(Address(Family.IPV4, number << 8), 24): each for number, each in enumerate(classes)}
    wanted = render(desired(PEER, prefixes=prefixes))
    assert len([key for key in wanted.lines if key[:2] == ("route-map", "to::192.0.2.1") and len(key) == 3]) == 2


def test_prepending_is_by_our_asn_towards_that_peer_and_never_on_ibgp() -> None:
    internal = replace(PEER, name="in", peer_asn=64500, address=Address.parse("192.0.2.2"))
    local = replace(PEER, name="local", local_asn=64999, address=Address.parse("192.0.2.3"))
    prefixes = {prefix_of(ADDRESS, 32): merged([Contribution(Attributes(prepend=2))])}
    lines = render(desired(PEER, internal, local, prefixes=prefixes)).lines
    found = {key[1]: line for key, line in lines.items() if key[-1] == "set as-path prepend"}
    assert found == {
        "to::192.0.2.1": "set as-path prepend 64500 64500",
        "to::192.0.2.3": "set as-path prepend 64999 64999",
    }


def test_numbers_stay_and_none_is_given_twice_while_the_old_is_there() -> None:
    to_tor = merged([Contribution(Attributes(), frozenset({"tor"}))])
    present = render(desired(PEER, prefixes={prefix_of(ADDRESS, 32): to_tor}))
    assert numbers(present, [class_name(to_tor)[4:20], "new"]) == {class_name(to_tor)[4:20]: 1, "new": 2}
    assert numbers(present, ["new"]) == {"new": 2}


def test_new_neighbour_is_shut_down_until_it_is_complete() -> None:
    wanted = render(desired(replace(PEER, password=Password("secret"))))
    about = [command for command in changes(Config(), wanted) if command.key[:1] == ("neighbor",)]
    assert about[0].also == "neighbor 192.0.2.1 shutdown"
    assert about[-1].text == "no neighbor 192.0.2.1 shutdown"
    assert not [command for command in about if command.resets]


def test_password_is_shown_nowhere() -> None:
    wanted = render(desired(replace(PEER, password=Password("hunter2"))))
    commands = changes(Config(), wanted)
    sent = [command for command in commands if "hunter2" in command.text]
    assert [command.shown for command in sent] == [f"neighbor 192.0.2.1 password {HIDDEN}"]
    assert "hunter2" not in repr(commands) + repr(wanted) + repr(PEER)


def test_changed_asn_makes_the_router_anew() -> None:
    prefixes = {prefix_of(ADDRESS, 32): PLAIN}
    present = render(desired(PEER, prefixes=prefixes))
    wanted = render(desired(replace(PEER, my_asn=64999), prefixes=prefixes), present)
    commands = changes(present, wanted)
    assert commands[0].text == "no router bgp 64500"
    assert [reset.reason for reset in commands[0].resets] == ["myASN changed"]
    for command in commands:
        apply(present, command, wanted)
    assert (present.lines, present.networks) == (wanted.lines, wanted.networks)


def test_several_resetting_edits_are_one_reset() -> None:
    present = render(desired(PEER))
    wanted = render(desired(replace(PEER, password=Password("x"), dual_stack=True)))
    resets = [reset for command in changes(present, wanted) for reset in command.resets]
    assert [reset.reason for reset in resets] == ["password set, activate set"]


def test_entry_that_loses_a_line_is_made_anew() -> None:
    """FRR 8.4 does not take every `no set ...`; the session of that entry is reset anyway."""
    prefixes = {prefix_of(ADDRESS, 32): merged([Contribution(Attributes(prepend=2))])}
    present = render(desired(PEER, prefixes=prefixes))
    wanted = render(desired(replace(PEER, peer_asn=64500), prefixes=prefixes), present)
    texts = [command.text for command in changes(present, wanted)]
    again = texts.index("no route-map to::192.0.2.1 permit 1")
    assert texts[again + 1 : again + 3] == ["route-map to::192.0.2.1 permit 1", "match tag 1"]
    assert not [text for text in texts if text.startswith("no set")]


def test_names_of_communities_that_we_do_not_know_are_kept_as_they_read() -> None:
    text = "route-map adv-x permit 1\n set community later-name 64500:1 no-export additive\nexit\n"
    assert read(text).lines["route-map", "adv-x", "1", "set community"] == (
        "set community later-name 64500:1 no-export additive"
    )


@pytest.mark.parametrize(
    "six", ["2001:db8::c000:209", "::c000:209", "::5", "::1:0:0:9", "2001:db8:0:1::9", "64:ff9b::c000:209"]
)
def test_addresses_read_as_they_are_written_however_frr_prints_them(six: str) -> None:
    """A speaker that restarts would reset the session, or announce the prefix again."""
    source = replace(PEER, address=Address.parse(six), source_address=Address.parse(six[:-1] + "a"), dual_stack=True)
    prefixes = {prefix_of(Address.parse(six), length): PLAIN for length in (64, 120, 128)}
    wanted = render(desired(source, prefixes=prefixes))
    assert changes(read(printed(wanted)), wanted) == []


def printed(config: Config) -> str:
    """What bgpd prints of a configuration of one router, whose C library writes the addresses."""
    text = [str(line) for key, line in config.lines.items() if key[0] == "global"]
    for name in {key[:3] for key in config.lines if key[0] == "route-map"}:
        entry = config.under(*name)
        text += [f"route-map {name[1]} {entry.pop(name)} {name[2]}", *(f" {line}" for line in entry.values())]
    text.append("router bgp 64500")
    text += [f" {line}" for key, line in config.lines.items() if key[0] == "router" and len(key) == 3]
    neighbors = [(key, f"neighbor {key[2]} {line}") for key, line in config.lines.items() if key[0] == "neighbor"]
    text += [f" {line}" for key, line in neighbors if len(key) == 4]
    for family in Family:
        text.append(f" address-family {family.value.lower()} unicast")
        text += [f"  {line}" for key, line in neighbors if key[3] == family.value]
        text += [
            f"  network {prefix} route-map {name}"
            for (_, prefix), name in config.networks.items()
            if prefix.family is family
        ]
        text.append(" exit-address-family")
    return "\n".join(" ".join(map(by_libc, line.split(" "))) for line in text)


@given(st.data())
@settings(max_examples=100)
def test_a_line_in_an_unknown_form_costs_no_other(data: st.DataObject) -> None:
    prefixes = {prefix_of(ADDRESS, 32): PLAIN}
    wanted = desired(replace(PEER, password=Password("secret"), ttl_security_hops=1), prefixes=prefixes)
    whole = printed(render(wanted))
    lines = whole.split("\n")
    indented = [number for number, line in enumerate(lines) if line.startswith(" ") and "address-family" not in line]
    number = data.draw(st.sampled_from(indented))
    start = len(lines[number]) - len(lines[number].lstrip())
    words = lines[number].split()
    kept = words[: data.draw(st.integers(1, len(words)))]
    more = data.draw(st.lists(st.sampled_from(["x", "route-map", "in", "::"]), max_size=2))
    lines.insert(number + data.draw(st.integers(0, 1)), " " * start + " ".join(kept + more))
    found, expected = read("\n".join(lines)), read(whole)
    assert expected.lines.keys() <= found.lines.keys()
    assert expected.networks.keys() <= found.networks.keys()
    assert all(command.daemon in Daemon for command in changes(found, render(wanted, found)))


def by_libc(word: str) -> str:
    address, slash, length = word.partition("/")
    try:
        return f"{socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))}{slash}{length}"
    except OSError:
        return word


def test_lines_of_others_are_passed_over() -> None:
    text = """
frr version 10.3
log file /tmp/log
ip prefix-list mine seq 5 permit 192.0.2.0/24
route-map mine permit 10
 match ip address prefix-list mine
exit
router bgp 64500
 bgp bestpath as-path multipath-relax
 neighbor 192.0.2.1 remote-as 64501
 neighbor 192.0.2.1 capability extended-nexthop
 address-family ipv4 unicast
  network 198.51.100.0/24
  maximum-paths 4
 exit-address-family
exit
bfd
 peer 192.0.2.1
  receive-interval 10
 exit
exit
"""
    config = read(text)
    assert config.lines == {
        ("router", ""): "router bgp 64500",
        ("neighbor", "", "192.0.2.1", "remote-as"): "remote-as 64501",
    }
    assert not config.networks
    assert all(command.daemon in Daemon for command in changes(config, Config()))
