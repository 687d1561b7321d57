"""Slots, the fixed playout buffer, and what becomes of a datagram that is late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.services.crowd.playout import (
    STALL_S,
    Fate,
    Playout,
    fate,
    slot_at,
    slot_from,
    slot_start_s,
    stall,
)

pytestmark = pytest.mark.unit

ORIGIN_S = 5_000.0


@given(slot=st.integers(-1_000, 10_000_000), origin_s=st.floats(0, 1e7))
def test_the_start_of_a_slot_belongs_to_it(slot: int, origin_s: float) -> None:
    start_s = slot_start_s(slot, origin_s)
    assert slot_at(start_s, origin_s) == slot
    assert slot_from(start_s, origin_s) == slot
    assert slot_at(start_s + 0.0199, origin_s) == slot
    assert slot_from(start_s + 0.0001, origin_s) == slot + 1
    assert slot_at(start_s - 0.0001, origin_s) == slot - 1


def test_the_first_datagram_plays_100_ms_later_rounded_up_to_a_slot() -> None:
    playout = Playout(origin_s=ORIGIN_S, playout_s=0.1)
    first_slots = [playout.first_slot]
    assert playout.anchor(4_000, ORIGIN_S + 1.0) == 55
    first_slots.append(playout.first_slot)
    assert playout.anchor(4_000, ORIGIN_S + 1.001) == 56
    assert [*first_slots, playout.first_slot] == [None, 55, 56]


def test_later_datagrams_play_by_their_timestamps_across_the_wrap() -> None:
    playout = Playout(origin_s=ORIGIN_S, playout_s=0.1)
    base = playout.anchor(0xFFFFFFFF - 159, ORIGIN_S)
    stamps = [(0xFFFFFFFF - 159 + 160 * n) & 0xFFFFFFFF for n in range(-3, 4)]
    assert [playout.slot_of(t) - base for t in stamps] == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("late_s", "stall_s", "expected"),
    [
        (-0.1, 0.0, Fate.PLAYED),
        (0.0, 0.0, Fate.PLAYED),
        (0.001, 0.0, Fate.LATE),
        (0.001, 0.05, Fate.UNJUDGED),
        (0.05, 0.05, Fate.UNJUDGED),
        (0.051, 0.05, Fate.LATE),
        (-0.1, 2.0, Fate.PLAYED),
    ],
)
def test_only_lateness_within_our_own_stall_is_unjudged(
    late_s: float, stall_s: float, expected: Fate
) -> None:
    assert fate(late_s, stall_s) is expected


def test_a_wake_in_time_is_no_stall() -> None:
    assert stall(10.0, 10.0 + STALL_S * 0.99) == 0.0
    assert stall(10.0, 10.2) == pytest.approx(0.2)
