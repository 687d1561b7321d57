"""What the room server does to audio: the queue, the mix, the packets, the 20 ms grid."""

import asyncio
import logging
import struct

import numpy as np
import pytest

from chaoskit.audio import mulaw
from chaoskit.services.room_server.legs import REFUSED_LIMIT, Leg, RoomMix, RtpClock
from chaoskit.services.room_server.media import MediaPlane
from chaoskit.services.room_server.mixing import (
    LONGEST_UNBUFFERED,
    SILENT_FRAME,
    Offer,
    TalkQueue,
    mix,
)
from chaoskit.services.room_server.ticks import CATCH_UP_SLOTS, SLOT_S, TickGrid
from chaoskit.wire.rtp import RtpHeader, pack, parse

pytestmark = pytest.mark.unit


def frame(value: int) -> bytes:
    return bytes([value]) * 160


def offer_many(queue: TalkQueue, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        queue.offer(ssrc=1, sequence=number & 0xFFFF, frame=frame(number % 100))


# --- queue ---------------------------------------------------------------------------------------


def test_a_speaker_enters_the_mix_with_more_than_prebuffer_frames_and_stays_in_it() -> None:
    queue, ready = TalkQueue(6), []
    for number in range(7):
        offer_many(queue, 1, start=number)
        ready.append(queue.ready)
    assert ready == [False] * 6 + [True]
    assert [queue.take()[0] for _ in range(7)] == list(range(7))
    offer_many(queue, 1, start=7)
    assert queue.ready, "after a pause there is no new prebuffering"


def test_a_queue_of_twice_the_prebuffer_keeps_the_newest() -> None:
    queue = TalkQueue(6)
    offer_many(queue, 11)
    assert len(queue) == 11
    offer_many(queue, 1, start=11)
    assert [queue.take()[0] for _ in range(len(queue))] == [6, 7, 8, 9, 10, 11]


def test_without_prebuffering_a_frame_is_mixed_at_once_and_a_burst_is_bounded() -> None:
    queue = TalkQueue(0)
    for number in range(3):
        offer_many(queue, 1, start=number)
        assert queue.ready
        assert queue.take()[0] == number
        assert not queue.ready
    offer_many(queue, 2, start=10)
    assert [queue.take()[0] for _ in range(2)] == [10, 11]
    offer_many(queue, 90)
    assert len(queue) == LONGEST_UNBUFFERED


@pytest.mark.parametrize("behind", [0, 1, 50])
def test_a_frame_that_is_not_ahead_is_late(behind: int) -> None:
    queue = TalkQueue(1)
    offer_many(queue, 1, start=1_000)
    assert queue.offer(ssrc=1, sequence=1_000 - behind, frame=frame(0)) is Offer.LATE
    assert len(queue) == 1


def test_a_jump_far_back_or_a_new_ssrc_starts_numbering_anew() -> None:
    queue = TalkQueue(9)
    offer_many(queue, 1, start=1_000)
    assert queue.offer(ssrc=1, sequence=900, frame=frame(1)) is Offer.QUEUED
    assert queue.offer(ssrc=1, sequence=899, frame=frame(1)) is Offer.LATE
    assert queue.offer(ssrc=2, sequence=880, frame=frame(2)) is Offer.QUEUED
    assert queue.offer(ssrc=2, sequence=880, frame=frame(2)) is Offer.LATE


def test_sequence_numbers_may_wrap() -> None:
    queue = TalkQueue(9)
    offer_many(queue, 4, start=65_534)
    assert len(queue) == 4


def test_muting_forgets_what_waits_but_not_that_the_speaker_was_in_the_mix() -> None:
    queue = TalkQueue(2)
    offer_many(queue, 3)
    queue.clear()
    offer_many(queue, 1, start=3)
    assert (queue.ready, len(queue)) == (True, 1)


# --- mix -----------------------------------------------------------------------------------------


def test_nobody_speaking_is_silence() -> None:
    assert mix({}) == (SILENT_FRAME, {})


def test_one_speaker_is_heard_by_others_and_hears_nothing() -> None:
    voice = bytes(range(0x10, 0x10 + 160 % 128)) * 5
    shared, own = mix({"a": voice})
    assert shared == voice
    assert own == {"a": SILENT_FRAME}


def test_each_of_three_hears_the_other_two() -> None:
    rng = np.random.default_rng(1)
    voices = {k: mulaw.encode(rng.integers(-4_000, 4_000, 160).astype(np.int16)) for k in "abc"}
    shared, own = mix(voices)
    wave = {k: mulaw.decode(v).astype(np.int32) for k, v in voices.items()}
    assert shared == mulaw.encode((wave["a"] + wave["b"] + wave["c"]).astype(np.int16))
    assert own["b"] == mulaw.encode((wave["a"] + wave["c"]).astype(np.int16))


def test_sums_beyond_full_scale_are_clipped_with_their_sign() -> None:
    loud = mulaw.encode(np.full(160, 30_000, np.int16))
    low = mulaw.encode(np.full(160, -30_000, np.int16))
    assert set(mix({1: loud, 2: loud})[0]) == {0x80}
    assert set(mix({1: low, 2: low})[0]) == {0x00}


# --- legs ----------------------------------------------------------------------------------------


class Wire:
    """Takes what a leg sends; raises `error` instead when it is set."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.error: OSError | None = None

    def send(self, packet: bytearray) -> int:
        if self.error is not None:
            raise self.error
        self.sent.append(bytes(packet))
        return len(packet)

    def headers(self) -> list[tuple[int, int]]:
        return [(h.sequence, h.timestamp) for h, _ in map(parse, self.sent)]

    def payloads(self) -> list[bytes]:
        return [payload for _, payload in map(parse, self.sent)]


def join(room: RoomMix, *, muted: bool = False, admin: bool = False) -> tuple[Leg, Wire, list[str]]:
    wire, ups = Wire(), list[str]()
    leg = Leg(
        room, wire.send, prebuffer=0, muted=muted, admin=admin, on_up=lambda: ups.append("up")
    )
    leg.queue.prebuffer = 1
    return leg, wire, ups


def say(leg: Leg, *values: int, start: int = 1) -> None:
    for number, value in enumerate(values, start):
        leg.receive(pack(RtpHeader(0, number, number * 160, 7), frame(value)))


def test_nothing_is_sent_before_the_first_packet_and_silence_after_it() -> None:
    room = RoomMix(ssrc=0xABCD)
    leg, wire, ups = join(room)
    room.tick(1)
    assert not wire.sent
    say(leg, mulaw.SILENCE)
    room.tick(1)
    room.tick(1)
    assert wire.headers() == [(1, 0), (2, 160)]
    assert parse(wire.sent[0])[0].ssrc == 0xABCD
    assert len(wire.sent[0]) == 172
    assert wire.payloads() == [SILENT_FRAME, SILENT_FRAME]
    assert ups == ["up"]


@pytest.mark.parametrize(
    ("datagram", "counts"),
    [(b"junk", False), (b"CKOPEN 1 2 3 4", False), (b"\x80\x00" + b"\0" * 10, True),
     (pack(RtpHeader(8, 1, 1, 1), frame(1)), True), (pack(RtpHeader(0, 1, 1, 1), b"short"), True)],
)  # fmt: skip
def test_any_rtp_counts_as_the_first_packet_but_only_20_ms_of_pcmu_is_mixed(
    datagram: bytes, counts: bool
) -> None:
    leg, _, ups = join(RoomMix(1))
    leg.receive(datagram)
    assert (leg.started, bool(ups)) == (counts, counts)
    assert (leg.rx, leg.rx_skipped, len(leg.queue)) == (1, 1, 0)


def test_all_who_do_not_speak_get_the_same_payload_and_speakers_the_mix_without_them() -> None:
    room = RoomMix(1)
    legs = [join(room) for _ in range(4)]
    for leg, _, _ in legs[2:]:
        leg.receive(pack(RtpHeader(0, 1, 0, 1), b""))
    say(legs[0][0], 0x10, 0x20)
    say(legs[1][0], 0x90, 0xA0)
    room.tick(1)
    heard = [wire.payloads()[0] for _, wire, _ in legs]
    assert heard[2] == heard[3] == mix({0: frame(0x10), 1: frame(0x90)})[0]
    assert heard[0] == frame(0x90)
    assert heard[1] == frame(0x10)


def test_a_leg_without_prebuffering_is_heard_frame_by_frame() -> None:
    room = RoomMix(1)
    speaker, _, _ = join(room)
    listener, heard, _ = join(room)
    speaker.queue.prebuffer = 0
    listener.start()
    for number in (1, 2, 3):
        say(speaker, 0x20 + number, start=number)
        room.tick(1)
    assert heard.payloads() == [frame(0x21), frame(0x22), frame(0x23)]


def test_a_talker_whose_queue_is_empty_is_passed_over() -> None:
    room = RoomMix(1)
    speaker, _, _ = join(room)
    listener, heard, _ = join(room)
    listener.start()
    say(speaker, 0x21, 0x22)
    speaker.queue.clear()
    assert room.tick(1) == []
    assert (heard.payloads(), room.talkers) == ([SILENT_FRAME], {})


def test_a_muted_leg_is_not_mixed_and_hears_everything() -> None:
    room = RoomMix(1)
    speaker, _, _ = join(room)
    muted, wire, _ = join(room, muted=True)
    say(muted, 0x10, 0x20)
    say(speaker, 0x30, 0x40)
    room.tick(1)
    assert wire.payloads() == [frame(0x30)]
    assert (muted.rx, muted.rx_skipped) == (2, 0)


def test_muting_a_leg_drops_what_it_said_a_moment_ago() -> None:
    room = RoomMix(1)
    leg, _, _ = join(room)
    listener, wire, _ = join(room)
    say(listener, mulaw.SILENCE)
    say(leg, 0x10, 0x20)
    leg.set_muted(True)
    leg.set_muted(False)
    room.tick(1)
    assert wire.payloads() == [SILENT_FRAME]


def test_a_muted_room_hears_its_admins_alone() -> None:
    room = RoomMix(1)
    (guest, guest_wire, _), (admin, admin_wire, _) = join(room), join(room, admin=True)
    say(guest, 0x10, 0x20)
    room.set_muted(True)
    say(guest, 0x10, start=3)
    say(admin, 0x30, 0x40)
    room.tick(1)
    assert guest_wire.payloads() == [frame(0x30)]
    assert admin_wire.payloads() == [SILENT_FRAME]


def test_after_skipped_slots_a_packet_says_when_it_is_and_sequence_goes_on() -> None:
    room = RoomMix(1)
    leg, wire, _ = join(room)
    say(leg, mulaw.SILENCE)
    room.tick(1)
    room.tick(101)
    room.tick(1)
    assert wire.headers() == [(1, 0), (2, 101 * 160), (3, 102 * 160)]


def test_a_leg_that_ended_neither_sends_nor_takes() -> None:
    room = RoomMix(1)
    leg, wire, ups = join(room)
    say(leg, 0x10, 0x20)
    leg.end()
    leg.end()
    say(leg, 0x10, start=3)
    room.tick(1)
    assert not wire.sent
    assert ups == ["up"]
    assert leg.rx == 2


def test_a_hundred_refusals_in_a_row_give_a_leg_up_once() -> None:
    room = RoomMix(1)
    leg, wire, _ = join(room)
    say(leg, mulaw.SILENCE)
    wire.error = ConnectionRefusedError()
    for _ in range(REFUSED_LIMIT - 1):
        assert room.tick(1) == []
    say(leg, mulaw.SILENCE, start=2)
    lost = [leg for _ in range(REFUSED_LIMIT + 5) for leg in room.tick(1)]
    assert lost == [leg]


def test_a_full_send_buffer_gives_nobody_up() -> None:
    room = RoomMix(1)
    leg, wire, _ = join(room)
    say(leg, mulaw.SILENCE)
    wire.error = BlockingIOError()
    assert [lost for _ in range(REFUSED_LIMIT + 1) for lost in room.tick(1)] == []
    assert leg.tx_failed == REFUSED_LIMIT + 1


def test_a_stream_goes_on_where_the_handle_left_it() -> None:
    clock = RtpClock(sequence=26, timestamp=4_000, at_s=10.0).resumed(12.0)
    room, wire = RoomMix(1), Wire()
    leg = Leg(room, wire.send, prebuffer=6, resume=clock, on_up=lambda: None)
    room.tick(1)
    assert wire.headers() == [(26, 4_000 + 2 * 8_000)]
    assert leg.clock(12.02) == RtpClock(27, 20_160, 12.02)


def test_a_leg_that_never_sent_leaves_no_clock() -> None:
    leg, _, _ = join(RoomMix(1))
    assert leg.clock(1.0) is None


def test_wrapping_sequence_and_timestamp_fit_their_fields() -> None:
    room, wire = RoomMix(1), Wire()
    clock = RtpClock(sequence=0xFFFF, timestamp=0xFFFFFFFF, at_s=0.0)
    Leg(room, wire.send, prebuffer=6, resume=clock, on_up=lambda: None)
    room.tick(1)
    room.tick(1)
    assert [struct.unpack_from("!HI", packet, 2) for packet in wire.sent] == [
        (0xFFFF, 0xFFFFFFFF),
        (0, 159),
    ]


# --- grid ----------------------------------------------------------------------------------------


def test_in_time_each_slot_is_run_once() -> None:
    grid = TickGrid(100.0)
    assert grid.take_due(99.999) == []
    assert grid.take_due(100.001) == [1]
    assert grid.take_due(100.001) == []
    assert grid.due_s == pytest.approx(100.0 + SLOT_S)


def test_a_short_delay_is_made_up_for_slot_by_slot() -> None:
    grid = TickGrid(100.0)
    assert grid.take_due(100.0 + CATCH_UP_SLOTS * SLOT_S + 0.001) == [1] * (CATCH_UP_SLOTS + 1)
    assert grid.skipped == 0


def test_a_stop_of_two_seconds_is_skipped_and_not_burst() -> None:
    grid = TickGrid(100.0)
    assert grid.take_due(102.001) == [101]
    assert (grid.run, grid.skipped) == (1, 100)
    assert grid.take_due(102.021) == [1]
    assert grid.due_s == pytest.approx(102.04)


def test_lateness_is_kept_for_a_second_and_for_ever() -> None:
    grid = TickGrid(100.0)
    grid.take_due(100.030)
    assert grid.late_recent_s(101.5) == pytest.approx(0.030)
    grid.take_due(105.01)
    grid.take_due(110.001)
    assert grid.late_recent_s(112.5) == 0.0
    assert grid.late_max_s == pytest.approx(110.001 - 105.02)


async def test_a_room_that_cannot_be_mixed_silences_neither_the_node_nor_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plane = MediaPlane(rtp_ip="127.0.0.1")
    broken, sound = plane.open_room(), plane.open_room()
    for room in (broken, sound):
        join(room)[0].start()
    ticked: list[RoomMix] = []
    enough = asyncio.Event()

    def tick(room: RoomMix, _slots: int) -> list[Leg]:
        ticked.append(room)
        if ticked.count(sound) == 3:
            enough.set()
        if room is broken and ticked.count(broken) == 1:
            raise IndexError("pop from an empty deque")
        return []

    monkeypatch.setattr(RoomMix, "tick", tick)
    with caplog.at_level(logging.ERROR):
        plane.start()
        await asyncio.wait_for(enough.wait(), 10.0)
    plane.stop()

    assert ticked.count(broken) == ticked.count(sound)
    assert [r.getMessage() for r in caplog.records] == ["a slot of a room could not be mixed"]
    assert caplog.records[0].exc_info


async def test_the_tick_goes_on_after_an_error_outside_any_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plane, again, calls = MediaPlane(rtp_ip="127.0.0.1"), asyncio.Event(), list[float]()

    def take_due(_grid: TickGrid, now_s: float) -> list[int]:
        calls.append(now_s)
        if len(calls) == 1:
            raise OSError("no memory")
        again.set()
        return []

    monkeypatch.setattr(TickGrid, "take_due", take_due)
    with pytest.raises(OSError, match="no memory"):
        plane.start()
    await asyncio.wait_for(again.wait(), 10.0)
    plane.stop()
