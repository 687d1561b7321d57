"""Timers that a replay map declares are the ones of its profile and its clients."""

import pytest

from chaoskit.replay.mapping import ReplayMap
from chaoskit.replay.pace import Timer
from chaoskit.spec.incident import load_incident

pytestmark = pytest.mark.unit


def launch_night() -> ReplayMap:
    return load_incident("launch-night").map


def timer(name: str) -> Timer:
    (found,) = (t for t in launch_night().timers if t.name == name)
    return found


def test_every_declared_timer_is_held_to_something() -> None:
    assert {t.name for t in launch_night().timers} == {
        "the host's lease",
        "a client's reconnect wait",
        "a listener's poll",
    }


def test_the_lease_is_the_profile_s() -> None:
    assert timer("the host's lease").value_s == launch_night().profile.settings["lease_s"]


def test_the_reconnect_wait_is_the_longest_of_those_whom_the_dead_line_sends_away() -> None:
    clients = {p.group: p.client for p in launch_night().parties}
    longest = max(clients[name].reconnect.cap_s for name in ("host", "guest", "owner"))
    assert timer("a client's reconnect wait").value_s == longest


def test_the_poll_is_the_listeners_and_begins_with_the_fresh_room() -> None:
    night = launch_night()
    (public,) = (p.client for p in night.parties if p.role == "listener")
    assert timer("a listener's poll").value_s == public.poll_s
    (act,) = night.actions
    assert timer("a listener's poll").from_s == act.at_s


def test_lease_and_reconnect_begin_with_the_dead_line() -> None:
    (fault,) = launch_night().faults
    begin = [timer(n).from_s for n in ("the host's lease", "a client's reconnect wait")]
    assert begin == [fault.from_s, fault.from_s]
