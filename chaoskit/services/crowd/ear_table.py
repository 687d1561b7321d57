"""What every ear of the shard has in its playout buffer: payload numbers by ear and slot.

The thread that receives writes, the thread that judges reads and clears. Equal payloads (one mix
goes to all listeners) get one number and are decoded once, when the slots are judged.
"""

from collections import deque
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio import beacon
from chaoskit.services.crowd.playout import Playout

RING_SLOTS = 1_024
"""Slots that a buffer holds: 20.48 s."""
RING_MASK = RING_SLOTS - 1
EMPTY = 0
"""Nothing plays in the slot."""
UNJUDGED = 1
"""A datagram came late for the slot, and the shard itself may be to blame."""

_NUMBERS = 1 << 16
_FIRST_NUMBER = 2
_REMEMBERED = 1 << 14


class Payloads:
    """Numbers payloads of 160 µ-law bytes; `symbols` and `loud` say what a number holds.

    Numbers are used again after 65,534 payloads. A buffer holds 20 s, so this is safe as long as
    fewer than 3,000 different payloads a second arrive; a room sends at most four different ones in
    20 ms.
    """

    def __init__(self) -> None:
        """Start with no payload but silence of two kinds, EMPTY and UNJUDGED."""
        self.symbols: NDArray[np.int8] = np.full((_NUMBERS, beacon.BANDS), -1, dtype=np.int8)
        """Tone by number and band, -1 = none. Valid after `decode_new`."""
        self.loud: NDArray[np.bool_] = np.zeros(_NUMBERS, dtype=np.bool_)
        self._known: dict[bytes, int] = {}
        self._new: deque[tuple[int, bytes]] = deque()
        self._next = _FIRST_NUMBER

    def number(self, payload: bytes) -> int:
        """Return the number of a payload (receiving thread)."""
        number = self._known.get(payload)
        if number is None:
            number = self._next
            self._next = number + 1 if number + 1 < _NUMBERS else _FIRST_NUMBER
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[payload] = number
            self._new.append((number, payload))
        return number

    def decode_new(self) -> int:
        """Decode the payloads numbered since the last call; return how many (judging thread)."""
        batch = [self._new.popleft() for _ in range(len(self._new))]
        if batch:
            numbers = np.array([number for number, _ in batch])
            decoded = beacon.decode_payloads([payload for _, payload in batch])
            self.symbols[numbers] = decoded.symbols
            self.loud[numbers] = decoded.loud
        return len(batch)


@dataclass(frozen=True, slots=True)
class Awaited:
    """A join whose first decoded frame has not been seen yet."""

    playout: Playout
    room: int
    generation: int


class EarRow:
    """One participant's ear through the whole run, over all its joins.

    Counters are cumulative; the media thread writes them. `presence` holds changes to come:
    (slot, whether there is an ear from then on), ascending.
    """

    __slots__ = (
        "arrivals", "awaited", "k", "late", "missing", "numbers", "presence", "received", "sent",
        "stamps", "transit_s", "unjudged",
    )  # fmt: skip

    def __init__(self, k: int, numbers: memoryview, arrivals: "memoryview[float]") -> None:
        """Made by EarTable."""
        self.k = k
        self.numbers = numbers
        self.arrivals = arrivals
        self.presence: deque[tuple[int, bool]] = deque()
        self.awaited: deque[Awaited] = deque()
        self.received = self.missing = self.late = self.unjudged = self.sent = 0
        self.transit_s = 0.0
        """Sum over `stamps` datagrams of how much later each came than the first of its stream."""
        self.stamps = 0

    def appear(self, slot: int) -> None:
        """From `slot` on there is an ear."""
        self.presence.append((slot, True))

    def vanish(self, slot: int) -> None:
        """From `slot` on there is none."""
        self.presence.append((slot, False))


class EarTable:
    """The ears of a shard as rows of two rings: payload number and arrival stamp by slot."""

    def __init__(self, participants: list[int], *, first_slot: int) -> None:
        """Make one empty row for each participant; judging starts at `first_slot`."""
        shape = (len(participants), RING_SLOTS)
        self.payloads = Payloads()
        self.numbers: NDArray[np.int32] = np.full(shape, EMPTY, dtype=np.int32)
        self.arrivals_s: NDArray[np.float64] = np.zeros(shape)
        self.judged_slot = first_slot
        """Slots before this one are judged: nothing may be written there any more."""
        self.rows = [
            EarRow(k, memoryview(numbers), cast("memoryview[float]", memoryview(arrivals)))
            for k, numbers, arrivals in zip(
                participants, self.numbers, self.arrivals_s, strict=True
            )
        ]
