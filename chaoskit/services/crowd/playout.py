"""Slots of run time, and the playout buffer of one ear: which datagram plays in which slot.

The buffer is the fixed one of DESIGN §6: the first datagram of a stream plays `playout_s` after it
arrived, rounded up to the next slot, and every later one by its RTP timestamp. Nothing is
stretched, and nothing that comes after its slot began is heard.
"""

import math
from enum import Enum

from chaoskit.model import SLOT_S
from chaoskit.wire.rtp import FRAME_SAMPLES

FAR_S = 10.0
"""What would play later than this from now is in no buffer: the stream restarts there."""
STALL_S = 0.030
"""A thread that was not awake for longer than this was itself late."""

_TOLERANCE = (
    1e-6  # slots: 20 ns, far above the rounding of a double, far below anything that counts
)


def slot_at(t: float, origin_s: float) -> int:
    """Return the slot that contains the monotonic stamp `t`.

    >>> slot_at(100.0, 100.0), slot_at(100.0199, 100.0), slot_at(99.99, 100.0)
    (0, 0, -1)
    """
    return math.floor((t - origin_s) / SLOT_S + _TOLERANCE)


def slot_from(t: float, origin_s: float) -> int:
    """Return the first slot that begins at `t` or later.

    >>> slot_from(100.0, 100.0), slot_from(100.001, 100.0)
    (0, 1)
    """
    return math.ceil((t - origin_s) / SLOT_S - _TOLERANCE)


def slot_start_s(slot: int, origin_s: float) -> float:
    """Return the monotonic stamp at which `slot` begins."""
    return origin_s + slot * SLOT_S


class Fate(Enum):
    """What becomes of a datagram."""

    PLAYED = "played"
    LATE = "late"
    UNJUDGED = "unjudged"


def fate(late_s: float, stall_s: float) -> Fate:
    """Return what becomes of a datagram read `late_s` after its slot began.

    late_s: negative when in time. stall_s: how long the reader had not looked, 0 when it looked in
    time: up to that long ago the datagram may have lain there.
    """
    if late_s <= 0.0:
        return Fate.PLAYED
    return Fate.UNJUDGED if late_s <= stall_s else Fate.LATE


def stall(previous_wake_s: float, wake_s: float) -> float:
    """Return how long a thread had not looked, in seconds; 0 when that is in order."""
    gap_s = wake_s - previous_wake_s
    return gap_s if gap_s > STALL_S else 0.0


class Playout:
    """Maps RTP timestamps of one stream to slots. Reads no clock."""

    __slots__ = ("_base", "_origin_s", "_playout_s", "_timestamp", "first_slot")

    def __init__(self, *, origin_s: float, playout_s: float) -> None:
        """`origin_s`: monotonic stamp of slot 0."""
        self._origin_s = origin_s
        self._playout_s = playout_s
        self._base = 0
        self._timestamp = 0
        self.first_slot: int | None = None
        """Slot of the first datagram of the stream, None before it came."""

    def anchor(self, timestamp: int, arrival_s: float) -> int:
        """Start a stream with a datagram that arrived at `arrival_s`; return its slot."""
        self._timestamp = timestamp
        self._base = self.first_slot = slot_from(arrival_s + self._playout_s, self._origin_s)
        return self._base

    def slot_of(self, timestamp: int) -> int:
        """Return the slot of a datagram of the stream; timestamps wrap at 2^32."""
        samples = ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        return self._base + samples // FRAME_SAMPLES
