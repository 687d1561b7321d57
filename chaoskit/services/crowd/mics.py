"""Microphones: what each does when, by script and by command, in 20 ms frames of run time.

The frame of a slot follows from the slot's number alone, so the same plan sounds the same in every
run, and a frame that was never sent leaves a hole where it belongs.
"""

import bisect
import itertools
import operator
from collections.abc import Callable, Sequence

from chaoskit.audio import beacon
from chaoskit.model import Mic
from chaoskit.services.crowd.flow import Outlet
from chaoskit.services.crowd.playout import slot_at, slot_from, slot_start_s
from chaoskit.wire.crowd import MicPlan
from chaoskit.wire.facts import Fact, MicChanged, SentSymbol, Unsent

CATCH_UP_SLOTS = 3
"""Missed frames that are still sent, at once, as a sound card would: a mixer's queue absorbs them.
Older ones are skipped and told of."""
SENT_EVERY_SLOTS = 50

_at_s = operator.attrgetter("at_s")


class Microphone:
    """One speaker's microphone. Silent until its script says otherwise.

    The media thread calls `mic_in` and reads `outlet`; other threads assign `outlet` and call
    `override`.
    """

    def __init__(self, k: int, band: int, script: Sequence[MicPlan], *, origin_s: float) -> None:
        """`script`: lines of any participants, in any order; those of `k` count.

        Raises ValueError for a state that no microphone has.
        """
        self.k = k
        self.band = band
        self.outlet: Outlet | None = None
        """Where frames go; None while out of the room."""
        lines = sorted((line for line in script if line.k == k), key=_at_s)
        self._from = [slot_from(origin_s + line.at_s, origin_s) for line in lines]
        self._mics = [Mic(line.mic) for line in lines]
        self._override: tuple[Mic, int] | None = None

    def override(self, mic: Mic, until_slot: int) -> None:
        """Do `mic` up to `until_slot`, whatever the script says."""
        self._override = (mic, until_slot)

    def mic_in(self, slot: int) -> Mic:
        """Return what the microphone does in `slot`."""
        if self._override is not None:
            mic, until_slot = self._override
            if slot < until_slot:
                return mic
            self._override = None
        line = bisect.bisect_right(self._from, slot)
        return self._mics[line - 1] if line else Mic.SILENCE


def index_in(mic: Mic, slot: int) -> int:
    """Return the beacon index that belongs to `slot`: the private source's, else the voice's."""
    return beacon.private_index(slot) if mic is Mic.PRIVATE else beacon.voice_index(slot)


def payload_in(mic: Mic, band: int, slot: int) -> bytes | None:
    """Return what is sent in `slot`: 160 µ-law bytes, or None for a closed microphone."""
    match mic:
        case Mic.BEACON | Mic.PRIVATE:
            return beacon.frame(band, index_in(mic, slot))
        case Mic.SILENCE:
            return beacon.SILENT_PAYLOAD
        case Mic.CLOSED:
            return None


class MicDesk:
    """All microphones of a shard, on one 20 ms grid of the monotonic clock.

    Reads no clock. `skipped` counts slots that were due when nobody looked and are never sent; the
    frames that a microphone in the room should have sent in them are told as Unsent.
    """

    def __init__(
        self, mics: Sequence[Microphone], write: Callable[[Fact], None], *, origin_s: float
    ) -> None:
        """`write` takes MicChanged, SentSymbol and Unsent facts."""
        self.mics = list(mics)
        self.skipped = 0
        self._write = write
        self._origin_s = origin_s
        self._next: int | None = None
        self._state: dict[int, Mic] = {}
        self._told: dict[int, int] = {}
        self._untold: list[Microphone] = []

    def add_quiet(self, mic: Microphone) -> None:
        """Add a microphone of which no facts are written: the sentinel's."""
        self._untold.append(mic)

    def due_s(self, now_s: float) -> float:
        """Return the monotonic stamp at which the next frame is due."""
        slot = slot_at(now_s, self._origin_s) if self._next is None else self._next
        return slot_start_s(slot, self._origin_s)

    def tick(self, now_s: float) -> None:
        """Send every frame that is due."""
        slot = slot_at(now_s, self._origin_s)
        first = slot if self._next is None else self._next
        if slot - first > CATCH_UP_SLOTS:
            self._skip(range(first, slot - CATCH_UP_SLOTS))
            first = slot - CATCH_UP_SLOTS
        for due in range(first, slot + 1):
            for mic in self.mics:
                self._frame(mic, due, now_s)
            for mic in self._untold:
                self._send(mic, mic.mic_in(due), due)
        self._next = max(first, slot + 1)

    def _skip(self, slots: range) -> None:
        self.skipped += len(slots)
        for mic in self.mics:
            if mic.outlet is None:
                continue
            due = [slot for slot in slots if mic.mic_in(slot) is not Mic.CLOSED]
            for _, run in itertools.groupby(enumerate(due), key=lambda item: item[1] - item[0]):
                unsent = [slot for _, slot in run]
                t = slot_start_s(unsent[0], self._origin_s)
                self._write(Unsent(t=t, p=mic.k, s=unsent[0], n=len(unsent)))

    def _frame(self, mic: Microphone, slot: int, now_s: float) -> None:
        state = mic.mic_in(slot)
        if state is not self._state.get(mic.k):
            self._state[mic.k] = state
            self._write(
                MicChanged(
                    t=slot_start_s(slot, self._origin_s),
                    p=mic.k,
                    mic=state.value,
                    index=index_in(state, slot),
                )
            )
        if not self._send(mic, state, slot) or state not in (Mic.BEACON, Mic.PRIVATE):
            return
        if slot >= self._told.get(mic.k, slot):
            self._told[mic.k] = slot + SENT_EVERY_SLOTS
            self._write(SentSymbol(t=now_s, p=mic.k, band=mic.band, index=index_in(state, slot)))

    @staticmethod
    def _send(mic: Microphone, state: Mic, slot: int) -> bool:
        outlet, payload = mic.outlet, payload_in(state, mic.band, slot)
        return outlet is not None and payload is not None and outlet.send(slot, payload)
