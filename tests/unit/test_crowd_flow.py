"""What a flow makes of datagrams: where they play, what is missing, late, unjudged, ignored."""

import struct
from typing import Any, cast

import pytest

from chaoskit.audio import beacon
from chaoskit.services.crowd.ear_table import EMPTY, UNJUDGED, EarTable, Payloads
from chaoskit.services.crowd.flow import Flow, Outlet
from chaoskit.services.crowd.playout import Playout
from chaoskit.wire.rtp import RtpHeader, pack, parse

pytestmark = pytest.mark.unit

ORIGIN_S = 100.0
SSRC = 77


class Wire:
    """Stands in for a connected UDP socket: keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.refuses = False

    def send(self, datagram: bytes) -> int:
        if self.refuses:
            raise ConnectionRefusedError
        self.sent.append(datagram)
        return len(datagram)

    def recv(self, size: int) -> bytes:
        raise BlockingIOError


def datagram(n: int, *, ssrc: int = SSRC, timestamp: int | None = None) -> bytes:
    """Return the nth datagram of a room: sequence n, timestamp 160 n, beacon index n."""
    stamp = 160 * n if timestamp is None else timestamp
    return pack(RtpHeader(0, n, stamp, ssrc), beacon.frame(0, n % 65_536))


@pytest.fixture
def table() -> EarTable:
    return EarTable([5], first_slot=0)


@pytest.fixture
def flow(table: EarTable) -> Flow:
    playout = Playout(origin_s=ORIGIN_S, playout_s=0.1)
    return Flow(
        cast("Any", Wire()), table.rows[0], table, origin_s=ORIGIN_S, playout=playout
    )  # fmt: skip


def arrival_s(n: int, late_s: float = 0.0) -> float:
    return ORIGIN_S + 0.02 * n + late_s


def played(table: EarTable, first: int, end: int) -> list[int]:
    """Return the tone of band 0 in each slot, -1 where nothing plays."""
    table.payloads.decode_new()
    return [int(table.payloads.symbols[table.numbers[0, s], 0]) for s in range(first, end)]


def test_a_steady_stream_plays_slot_by_slot_from_100_ms_on(table: EarTable, flow: Flow) -> None:
    for n in range(20):
        flow.take(datagram(n), arrival_s(n), 0.0)
    assert played(table, 0, 5) == [-1] * 5
    assert played(table, 5, 25) == beacon.SEQUENCE[:20].tolist()
    assert table.arrivals_s[0, 5:8].tolist() == [arrival_s(n) for n in range(3)]
    ear = table.rows[0]
    assert (ear.received, ear.missing, ear.late, ear.unjudged) == (20, 0, 0, 0)
    assert flow.playout.first_slot == 5


def test_lost_and_reordered_datagrams_are_counted_and_placed(table: EarTable, flow: Flow) -> None:
    for n in (0, 1, 3, 2, 6):
        flow.take(datagram(n), arrival_s(6), 0.0)
    assert table.rows[0].missing == 2
    assert [x >= 0 for x in played(table, 11, 18)] == [True] * 4 + [False] * 2 + [True]


def test_a_datagram_after_the_start_of_its_slot_is_late(table: EarTable, flow: Flow) -> None:
    flow.take(datagram(0), arrival_s(0), 0.0)
    flow.take(datagram(1), arrival_s(6, 0.001), 0.0)
    flow.take(datagram(2), arrival_s(7), 0.0)
    assert table.rows[0].late == 1
    assert table.numbers[0, 6] == EMPTY
    assert table.numbers[0, 7] > UNJUDGED


def test_late_by_our_own_stall_is_unjudged_and_beyond_it_late(table: EarTable, flow: Flow) -> None:
    flow.take(datagram(0), arrival_s(0), 0.0)
    flow.take(datagram(1), arrival_s(8), 0.05)
    flow.take(datagram(2), arrival_s(8), 0.0)
    flow.take(datagram(3), arrival_s(8), 0.05)
    ear = table.rows[0]
    assert (ear.unjudged, ear.late) == (1, 1)
    assert table.numbers[0, 6] == UNJUDGED
    assert table.numbers[0, 7] == EMPTY
    assert table.numbers[0, 8] > UNJUDGED


def test_nothing_is_written_into_slots_that_are_judged(table: EarTable, flow: Flow) -> None:
    flow.take(datagram(0), arrival_s(0), 0.0)
    table.judged_slot = 7
    flow.take(datagram(1), arrival_s(10), 0.2)
    assert table.numbers[0, 6] == EMPTY
    assert table.rows[0].late == 1


def test_another_ssrc_anchors_anew(table: EarTable, flow: Flow) -> None:
    flow.take(datagram(0), arrival_s(0), 0.0)
    flow.take(datagram(700, ssrc=78), arrival_s(50), 0.0)
    flow.take(datagram(701, ssrc=78), arrival_s(51), 0.0)
    assert flow.playout.first_slot == 55
    assert played(table, 55, 57) == beacon.SEQUENCE[700:702].tolist()
    assert table.rows[0].missing == 0


def test_a_timestamp_far_ahead_anchors_anew(table: EarTable, flow: Flow) -> None:
    flow.take(datagram(0), arrival_s(0), 0.0)
    flow.take(datagram(1, timestamp=160 * 2_000), arrival_s(1), 0.0)
    assert flow.playout.first_slot == 6


def test_transit_is_measured_against_the_first_datagram(table: EarTable, flow: Flow) -> None:
    for n, late_s in enumerate((0.0, 0.03, 0.03)):
        flow.take(datagram(n), arrival_s(n, late_s), 0.0)
    ear = table.rows[0]
    assert ear.transit_s == pytest.approx(0.06)
    assert ear.stamps == 3


@pytest.mark.parametrize(
    "junk",
    [
        b"CKOPENED abc 127.0.0.1 99",
        b"\x80",
        pack(RtpHeader(8, 1, 160, SSRC), bytes(160)),
        pack(RtpHeader(0, 1, 160, SSRC), bytes(159)),
    ],
)
def test_what_is_no_frame_of_the_room_is_ignored(table: EarTable, flow: Flow, junk: bytes) -> None:
    flow.take(junk, arrival_s(0), 0.0)
    assert table.rows[0].received == 0
    assert flow.last_s is None


def test_a_header_extension_is_stepped_over(table: EarTable, flow: Flow) -> None:
    plain = datagram(0)
    extended = bytes([plain[0] | 0x10]) + plain[1:12] + struct.pack("!HHI", 1, 1, 0) + plain[12:]
    flow.take(extended, arrival_s(0), 0.0)
    assert played(table, 5, 6) == [int(beacon.SEQUENCE[0])]


def test_equal_payloads_have_one_number_and_are_decoded_once() -> None:
    payloads = Payloads()
    first, second = beacon.frame(0, 1), beacon.frame(1, 1)
    numbers = [payloads.number(p) for p in (first, second, first)]
    assert numbers[0] == numbers[2] != numbers[1]
    assert payloads.decode_new() == 2
    assert payloads.decode_new() == 0
    assert payloads.symbols[numbers[0]].tolist() == [int(beacon.SEQUENCE[1]), -1, -1]
    assert payloads.loud[numbers[:2]].all()
    assert not payloads.loud[[EMPTY, UNJUDGED]].any()


def test_payload_numbers_come_round_and_never_name_the_special_ones() -> None:
    payloads = Payloads()
    seen = [payloads.number(n.to_bytes(160, "big")) for n in range(70_000)]
    assert min(seen) == 2
    assert max(seen) == 65_535
    assert seen[65_534] == 2


def test_an_outlet_counts_packets_and_stamps_slots(table: EarTable) -> None:
    wire = Wire()
    outlet = Outlet(cast("Any", wire), table.rows[0], ssrc=9)
    outlet.open(1_000)
    assert outlet.send(1_003, beacon.frame(2, 50))
    wire.refuses = True
    assert not outlet.send(1_004, beacon.frame(2, 51))
    packets = [parse(sent) for sent in wire.sent]
    assert [header.sequence for header, _ in packets] == [0, 1, 2]
    assert [header.timestamp for header, _ in packets] == [160 * s for s in (998, 999, 1_003)]
    assert {header.ssrc for header, _ in packets} == {9}
    assert packets[0][1] == beacon.SILENT_PAYLOAD
    assert packets[2][1] == beacon.frame(2, 50)
    assert table.rows[0].sent == 3
