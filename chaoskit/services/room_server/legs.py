"""Media of one participant (`Leg`) and of one room (`RoomMix`): RTP in, mix, RTP out."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.services.room_server.mixing import Offer, TalkQueue, mix
from chaoskit.wire.rtp import FRAME_SAMPLES, HEADER_BYTES, PACKET_BYTES, PCMU, NotRtp, parse

REFUSED_LIMIT = 100
"""Socket errors in a row after which a participant counts as gone, as in Janus: 2 s of media."""

_SEQUENCE_AND_TIMESTAMP = struct.Struct("!HI")
_VERSION_2 = 0x80


@dataclass(frozen=True, slots=True)
class RtpClock:
    """Where a stream of packets stands: next sequence and timestamp, and when (monotonic)."""

    sequence: int
    timestamp: int
    at_s: float

    def resumed(self, now_s: float) -> "RtpClock":
        """Return the clock for a stream that goes on now: timestamps advance by elapsed time."""
        elapsed = round((now_s - self.at_s) * 8_000)
        return RtpClock(self.sequence, (self.timestamp + elapsed) & 0xFFFFFFFF, now_s)


class Leg:
    """RTP of one participant, both ways. Sending starts with the first packet received.

    `send` is given the same buffer again and again: it must not keep it. Counters: `rx` datagrams
    received, of them `rx_late` (older than the newest) and `rx_skipped` (not RTP, not PCMU, not
    20 ms); `tx` datagrams handed to the kernel; `tx_failed` refused by it.
    """

    __slots__ = (
        "_on_up", "_refused", "admin", "alive", "muted", "queue", "room", "rx", "rx_late",
        "rx_skipped", "send", "sequence", "started", "timestamp", "tx", "tx_failed",
    )  # fmt: skip

    def __init__(
        self,
        room: "RoomMix",
        send: Callable[[bytearray], int],
        *,
        prebuffer: int,
        muted: bool = False,
        admin: bool = False,
        resume: RtpClock | None = None,
        on_up: Callable[[], None],
    ) -> None:
        """`resume` goes on with an earlier stream of the handle; `on_up`: a first packet came."""
        self.room = room
        self.send = send
        self.queue = TalkQueue(prebuffer)
        self.muted = muted
        self.admin = admin
        self.alive = True
        self.started = False
        self.sequence = resume.sequence if resume else 1
        self.timestamp = resume.timestamp if resume else 0
        self.rx = self.rx_late = self.rx_skipped = self.tx = self.tx_failed = 0
        self._refused = 0
        self._on_up = on_up
        if resume is not None:
            self.start()

    def start(self) -> None:
        """Begin to send."""
        if self.alive and not self.started:
            self.started = True
            self.room.legs.append(self)

    def end(self) -> None:
        """Stop for good, idempotently."""
        self.alive = False
        if self.started:
            self.started = False
            self.room.legs.remove(self)
        self.room.talkers.pop(self, None)

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute; muting forgets what waits for the mixer."""
        self.muted = muted
        if muted:
            self.fall_silent()

    def fall_silent(self) -> None:
        """Forget what waits for the mixer."""
        self.queue.clear()
        self.room.talkers.pop(self, None)

    def receive(self, datagram: bytes) -> None:
        """Take one datagram that came from the participant's address."""
        if not self.alive:
            return
        self.rx += 1
        self._refused = 0
        if len(datagram) < HEADER_BYTES or datagram[0] >> 6 != 2:
            self.rx_skipped += 1
            return
        if not self.started:
            self.start()
            self._on_up()
        if self.muted or (self.room.muted and not self.admin):
            return
        try:
            header, frame = parse(datagram)
        except NotRtp:
            self.rx_skipped += 1
            return
        if header.payload_type != PCMU or len(frame) != FRAME_SAMPLES:
            self.rx_skipped += 1
            return
        if self.queue.offer(ssrc=header.ssrc, sequence=header.sequence, frame=frame) is Offer.LATE:
            self.rx_late += 1
        elif self.queue.ready:
            self.room.talkers[self] = None

    def refused(self) -> bool:
        """Count a socket error; return whether the participant is to be given up now."""
        self._refused += 1
        return self._refused == REFUSED_LIMIT

    def clock(self, now_s: float) -> RtpClock | None:
        """Return where the stream stands, None when it never started."""
        return RtpClock(self.sequence, self.timestamp, now_s) if self.tx or self.started else None


class RoomMix:
    """The media of one room. `legs` are those that send; `talkers` those with a frame waiting."""

    __slots__ = ("_buffer", "legs", "muted", "talkers")

    def __init__(self, ssrc: int) -> None:
        """All packets of the room carry `ssrc`."""
        self.legs: list[Leg] = []
        self.talkers: dict[Leg, None] = {}
        self.muted = False
        self._buffer = bytearray(PACKET_BYTES)
        struct.pack_into("!BBHII", self._buffer, 0, _VERSION_2, PCMU, 0, 0, ssrc & 0xFFFFFFFF)

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute everybody who is not an admin."""
        self.muted = muted
        if muted:
            for leg in [leg for leg in self.talkers if not leg.admin]:
                leg.fall_silent()

    def tick(self, slots: int) -> list[Leg]:
        """Mix one slot and send it to every leg; return the legs to be given up.

        slots: how many slots this one stands for; more than 1 after skipped ones, which timestamps
        step over and sequence numbers do not. The packets of all who do not speak in this slot
        differ in sequence and timestamp alone.
        """
        skipped = (slots - 1) * FRAME_SAMPLES
        frames = {}
        for leg in list(self.talkers):
            if leg.queue.ready:
                frames[leg] = leg.queue.take()
            if not leg.queue.ready:
                del self.talkers[leg]
        shared, own = mix(frames)
        listeners = [leg for leg in self.legs if leg not in own] if own else self.legs
        audiences = [(shared, listeners), *((payload, [leg]) for leg, payload in own.items())]
        lost: list[Leg] = []
        buffer, pack_into = self._buffer, _SEQUENCE_AND_TIMESTAMP.pack_into
        for payload, legs in audiences:
            buffer[HEADER_BYTES:] = payload
            for leg in legs:
                timestamp = (leg.timestamp + skipped) & 0xFFFFFFFF
                pack_into(buffer, 2, leg.sequence, timestamp)
                leg.sequence = (leg.sequence + 1) & 0xFFFF
                leg.timestamp = (timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
                try:
                    leg.send(buffer)
                except OSError as error:
                    self._failed(leg, error, lost)
                else:
                    leg.tx += 1
        return lost

    @staticmethod
    def _failed(leg: Leg, error: OSError, lost: list[Leg]) -> None:
        leg.tx_failed += 1
        # A full send buffer is this machine's own affair and says nothing about the participant.
        if not isinstance(error, BlockingIOError) and leg.refused():
            lost.append(leg)
