"""Microphones: script, override, cadence, and the indices they send."""

from typing import Any, cast

import pytest

from chaoskit.audio import beacon
from chaoskit.model import Mic
from chaoskit.services.crowd.mics import CATCH_UP_SLOTS, MicDesk, Microphone, index_in, payload_in
from chaoskit.services.crowd.playout import slot_start_s
from chaoskit.wire.crowd import MicPlan
from chaoskit.wire.facts import Fact, MicChanged, SentSymbol, Unsent

pytestmark = pytest.mark.unit

ORIGIN_S = 100.0
SCRIPT = [
    MicPlan(at_s=2.0, k=1, mic="private"),
    MicPlan(at_s=1.0, k=1, mic="beacon"),
    MicPlan(at_s=3.0, k=1, mic="closed"),
    MicPlan(at_s=0.5, k=2, mic="beacon"),
]


class Outlet:
    """Stands in for the RTP sender: keeps slot and payload."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []

    def send(self, slot: int, payload: bytes) -> bool:
        self.frames.append((slot, payload))
        return True


def microphone(k: int = 1, script: list[MicPlan] = SCRIPT) -> Microphone:
    return Microphone(k, 0, script, origin_s=ORIGIN_S)


def desk_of(mic: Microphone) -> tuple[MicDesk, Outlet, list[Fact]]:
    outlet, facts = Outlet(), list[Fact]()
    mic.outlet = cast("Any", outlet)
    return MicDesk([mic], facts.append, origin_s=ORIGIN_S), outlet, facts


def test_the_script_of_one_participant_rules_by_run_time() -> None:
    mic = microphone()
    slots = [0, 49, 50, 99, 100, 149, 150, 10_000]
    expected = ["silence", "silence", "beacon", "beacon", "private", "private", "closed", "closed"]
    assert [mic.mic_in(s).value for s in slots] == expected
    assert microphone(3).mic_in(500) is Mic.SILENCE


def test_an_override_ends_by_itself() -> None:
    mic = microphone()
    mic.override(Mic.CLOSED, 60)
    assert [mic.mic_in(s).value for s in (55, 59, 60)] == ["closed", "closed", "beacon"]


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValueError, match="singing"):
        microphone(1, [MicPlan(at_s=0, k=1, mic="singing")])


def test_what_is_sent_follows_from_the_slot_alone() -> None:
    assert payload_in(Mic.BEACON, 1, 7) == beacon.frame(1, 7)
    assert payload_in(Mic.BEACON, 1, 32_768 + 7) == beacon.frame(1, 7)
    assert payload_in(Mic.PRIVATE, 1, 7) == beacon.frame(1, 32_768 + 7)
    assert payload_in(Mic.SILENCE, 1, 7) == b"\xff" * 160
    assert payload_in(Mic.CLOSED, 1, 7) is None
    assert index_in(Mic.SILENCE, 9) == 9


def test_one_frame_a_slot_without_drift() -> None:
    mic = microphone()
    desk, outlet, _ = desk_of(mic)
    now_s = ORIGIN_S + 1.0
    while now_s < ORIGIN_S + 2.0:
        desk.tick(now_s)
        assert desk.due_s(now_s) > now_s
        now_s = desk.due_s(now_s) + 0.0031
    assert [slot for slot, _ in outlet.frames] == list(range(50, 100))
    assert [payload for _, payload in outlet.frames] == [beacon.frame(0, s) for s in range(50, 100)]
    assert desk.skipped == 0


def test_a_short_delay_is_made_up_for_and_a_long_one_skipped() -> None:
    desk, outlet, _ = desk_of(microphone())
    desk.tick(slot_start_s(60, ORIGIN_S))
    desk.tick(slot_start_s(63, ORIGIN_S))
    assert [slot for slot, _ in outlet.frames] == [60, 61, 62, 63]
    desk.tick(slot_start_s(80, ORIGIN_S))
    kept = list(range(80 - CATCH_UP_SLOTS, 81))
    assert [slot for slot, _ in outlet.frames[4:]] == kept
    assert desk.skipped == 80 - 64 - CATCH_UP_SLOTS


def unsent_in(facts: list[Fact]) -> list[tuple[float, int, int, int]]:
    return [(f.t, f.p, f.s, f.n) for f in facts if isinstance(f, Unsent)]


def test_frames_that_are_skipped_are_told_and_those_made_up_for_are_not() -> None:
    desk, outlet, facts = desk_of(microphone())
    desk.tick(slot_start_s(60, ORIGIN_S))
    desk.tick(slot_start_s(61 + CATCH_UP_SLOTS, ORIGIN_S))
    assert unsent_in(facts) == []
    desk.tick(slot_start_s(90, ORIGIN_S))
    first, end = 62 + CATCH_UP_SLOTS, 90 - CATCH_UP_SLOTS
    assert unsent_in(facts) == [(slot_start_s(first, ORIGIN_S), 1, first, end - first)]
    sent = [slot for slot, _ in outlet.frames]
    assert sorted([*sent, *range(first, end)]) == list(range(60, 91))


def test_a_closed_microphone_has_no_frames_that_could_be_missing() -> None:
    script = [
        MicPlan(at_s=0, k=1, mic="beacon"),
        MicPlan(at_s=1.0, k=1, mic="closed"),
        MicPlan(at_s=1.4, k=1, mic="silence"),
        MicPlan(at_s=1.8, k=1, mic="closed"),
    ]
    desk, _, facts = desk_of(microphone(1, script))
    desk.tick(slot_start_s(39, ORIGIN_S))
    desk.tick(slot_start_s(200, ORIGIN_S))
    assert [told[2:] for told in unsent_in(facts)] == [(40, 10), (70, 20)]


def test_out_of_the_room_no_frame_is_missing() -> None:
    mic = microphone()
    desk, _, facts = desk_of(mic)
    mic.outlet = None
    desk.tick(slot_start_s(60, ORIGIN_S))
    desk.tick(slot_start_s(90, ORIGIN_S))
    assert unsent_in(facts) == []
    assert desk.skipped == 90 - 61 - CATCH_UP_SLOTS


def test_the_same_slot_is_never_sent_twice() -> None:
    desk, outlet, _ = desk_of(microphone())
    for t in (60, 60, 61, 60, 61):
        desk.tick(slot_start_s(t, ORIGIN_S))
    assert [slot for slot, _ in outlet.frames] == [60, 61]


def test_changes_and_one_symbol_a_second_are_told() -> None:
    desk, outlet, facts = desk_of(microphone())
    for slot in range(160):
        desk.tick(slot_start_s(slot, ORIGIN_S) + 0.001)
    changes = [(f.t, f.mic, f.index) for f in facts if isinstance(f, MicChanged)]
    assert changes == [
        (100.0, "silence", 0),
        (101.0, "beacon", 50),
        (102.0, "private", 32_768 + 100),
        (103.0, "closed", 150),
    ]
    sent = [(f.band, f.index) for f in facts if isinstance(f, SentSymbol)]
    assert sent == [(0, 50), (0, 32_768 + 100)]
    assert [slot for slot, _ in outlet.frames] == list(range(150))


def test_out_of_the_room_nothing_is_sent_but_changes_are_told() -> None:
    mic = microphone()
    desk, outlet, facts = desk_of(mic)
    mic.outlet = None
    for slot in range(45, 55):
        desk.tick(slot_start_s(slot, ORIGIN_S))
    assert outlet.frames == []
    assert [f.mic for f in facts if isinstance(f, MicChanged)] == ["silence", "beacon"]
    assert not [f for f in facts if isinstance(f, SentSymbol)]


def test_of_a_quiet_microphone_nothing_is_told() -> None:
    desk, _, facts = desk_of(microphone())
    desk.mics.clear()
    sentinel, outlet = microphone(16_100, []), Outlet()
    sentinel.override(Mic.BEACON, 1 << 40)
    sentinel.outlet = cast("Any", outlet)
    desk.add_quiet(sentinel)
    for slot in range(-5, 60):
        desk.tick(slot_start_s(slot, ORIGIN_S))
    assert [payload for _, payload in outlet.frames] == [
        beacon.frame(0, slot % 32_768) for slot in range(-5, 60)
    ]
    assert facts == []
