"""The media of one join: a socket whose datagrams fill an ear, and into which somebody speaks."""

import socket
from struct import Struct

from chaoskit.audio.beacon import SILENT_PAYLOAD
from chaoskit.model import SLOT_S
from chaoskit.services.crowd.ear_table import RING_MASK, UNJUDGED, EarRow, EarTable
from chaoskit.services.crowd.playout import FAR_S, Fate, Playout, fate
from chaoskit.wire.rtp import (
    FRAME_SAMPLES,
    HEADER_BYTES,
    PACKET_BYTES,
    PCMU,
    NotRtp,
    RtpHeader,
    pack,
    parse,
    sequence_step,
)

OPENING_PACKETS = 2
"""A room server sends nothing before it got something; two, for one may be lost."""

_PLAIN = 0x80  # version 2, no padding, no extension, no contributors
_FIELDS = Struct("!HII")


class Flow:
    """Receives for one ear from one socket. One thread calls `take`.

    The socket is connected to the media link and closed by the media thread.
    """

    __slots__ = (
        "_extent", "_lead_s", "_missing", "_newest", "_origin_s", "_received", "_slot", "_ssrc",
        "_table", "ear", "last_s", "playout", "recv", "sock",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        ear: EarRow,
        table: EarTable,
        *,
        origin_s: float,
        playout: Playout,
    ) -> None:
        """Nothing is received before the media thread has the flow."""
        self.sock = sock
        self.recv = sock.recv
        self.ear = ear
        self.playout = playout
        self.last_s: float | None = None
        """Monotonic stamp of the last RTP datagram, None before the first."""
        self._table = table
        self._origin_s = origin_s
        self._ssrc = -1
        self._newest = self._extent = self._received = self._missing = self._slot = 0
        self._lead_s = 0.0

    def take(self, datagram: bytes, now_s: float, stall_s: float) -> None:
        """Put one datagram where it plays, or count what became of it.

        now_s: when it was read. stall_s: how long nobody had looked before (`playout.stall`).
        """
        if len(datagram) == PACKET_BYTES and datagram[0] == _PLAIN and datagram[1] & 0x7F == PCMU:
            payload = datagram[HEADER_BYTES:]
            sequence, timestamp, ssrc = _FIELDS.unpack_from(datagram, 2)
        else:
            try:
                header, payload = parse(datagram)
            except NotRtp:
                return  # an answer of the link that came twice
            if header.payload_type != PCMU or len(payload) != FRAME_SAMPLES:
                return
            sequence, timestamp, ssrc = header.sequence, header.timestamp, header.ssrc
        ear = self.ear
        self.last_s = now_s
        ear.received += 1
        self._received += 1
        if ssrc != self._ssrc:
            late_s = self._restart(ssrc, sequence, timestamp, now_s)
        else:
            step = sequence_step(self._newest, sequence)
            if step > 0:
                self._extent += step
                self._newest = sequence
            self._count_missing()
            self._slot = self.playout.slot_of(timestamp)
            late_s = now_s - (self._origin_s + self._slot * SLOT_S)
            if late_s < -FAR_S:
                late_s = self._restart(ssrc, sequence, timestamp, now_s)
        ear.transit_s += late_s + self._lead_s
        ear.stamps += 1
        place = self._slot & RING_MASK
        if late_s <= 0.0:
            ear.numbers[place] = self._table.payloads.number(payload)
            ear.arrivals[place] = now_s
        elif fate(late_s, stall_s) is Fate.UNJUDGED and self._slot >= self._table.judged_slot:
            ear.numbers[place] = UNJUDGED
            ear.unjudged += 1
        else:
            ear.late += 1

    def _restart(self, ssrc: int, sequence: int, timestamp: int, now_s: float) -> float:
        """Anchor a stream: the first of this flow, one of another SSRC, or one that jumped far.

        Return how late the datagram is: it plays in time.
        """
        self._ssrc, self._newest, self._extent = ssrc, sequence, 0
        self._received, self._missing = 1, 0
        self._slot = self.playout.anchor(timestamp, now_s)
        late_s = now_s - (self._origin_s + self._slot * SLOT_S)
        self._lead_s = -late_s
        return late_s

    def _count_missing(self) -> None:
        missing = self._extent + 1 - self._received
        if missing != self._missing:
            self.ear.missing += missing - self._missing
            self._missing = missing


class Outlet:
    """Sends RTP frames of one join into its socket. One SSRC, sequence from 0."""

    __slots__ = ("_ear", "_sequence", "_sock", "_ssrc")

    def __init__(self, sock: socket.socket, ear: EarRow, *, ssrc: int) -> None:
        """`ear` counts what is sent."""
        self._sock = sock
        self._ear = ear
        self._ssrc = ssrc
        self._sequence = 0

    def send(self, slot: int, payload: bytes) -> bool:
        """Send the frame of `slot`; return whether the kernel took it.

        The timestamp is the slot's, so that frames never sent leave a hole in time.
        """
        header = RtpHeader(PCMU, self._sequence, slot * FRAME_SAMPLES, self._ssrc)
        self._sequence += 1
        try:
            self._sock.send(pack(header, payload))
        except OSError:
            return False  # refused: nothing listens behind the link just now
        self._ear.sent += 1
        return True

    def open(self, slot: int) -> None:
        """Send the packets that make a room server send: silence, before `slot`."""
        for n in range(OPENING_PACKETS):
            self.send(slot - OPENING_PACKETS + n, SILENT_PAYLOAD)
