"""The judging thread: twice a second, codes for every ear, and the facts that follow from them.

It works a little behind the ears: a slot is judged once everything that could still play in it has
been read, and with what follows it already at hand.
"""

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio import listening
from chaoskit.services.crowd import ear_table
from chaoskit.services.crowd.ear_table import RING_MASK, RING_SLOTS, Awaited, EarRow, EarTable
from chaoskit.services.crowd.facts_writer import FactsWriter
from chaoskit.services.crowd.media import Media
from chaoskit.services.crowd.playout import slot_at, slot_start_s
from chaoskit.wire.facts import FirstFrame, HeardSymbols, Mark, Net

FLUSH_S = 0.25
FLUSHES_A_JUDGEMENT = 2
JUDGEMENTS_A_SAMPLE = 2
BEHIND_S = 0.3
"""How far behind the playout buffer ears are judged: what follows a slot helps to judge it."""

_SAMPLE_SLOTS = 10

Codes = NDArray[np.uint8]


def changes(codes: Codes, before: Codes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return (row, column) of every slot whose code differs from the slot before, rows together.

    codes: (ears, slots); before: (ears,), the codes of the slot before the first.
    """
    earlier = np.concatenate((before[:, None], codes[:, :-1]), axis=1)
    rows, columns = np.nonzero(codes != earlier)
    return rows, columns


def ear_line(t: float, p: int, slot: int, code: int) -> str:
    """Return the line of an Ear fact, as `encode_fact` does but for thousands a second."""
    return f'{{"k":"ear","t":{round(t, 6)},"p":{p},"s":{slot},"c":{code}}}\n'


def first_heard(codes: Codes, first: int, awaited: Sequence[Awaited]) -> int | None:
    """Return the first slot in which the first of `awaited` was heard, None when there is none.

    codes: (slots,), of one ear from slot `first` on. What plays after the next join's first
    datagram is not the first join's any more.
    """
    heard = listening.is_heard(codes)
    since = awaited[0].playout.first_slot
    until = awaited[1].playout.first_slot if len(awaited) > 1 else None
    if since is None:
        return None
    heard[: max(since - first, 0)] = False
    if until is not None:
        heard[max(until - first, 0) :] = False
    return first + int(heard.argmax()) if heard.any() else None


def band_of(code: int) -> int:
    """Return the lowest band that a heard code holds, voice or private source."""
    bits = (code & listening.VOICE_BITS) or code >> listening.PRIVATE_SHIFT
    return (bits & -bits).bit_length() - 1


class Absences:
    """Where there is no ear: before the first join attempt and after leaving."""

    def __init__(self, rows: list[EarRow]) -> None:
        """Start with all of them absent."""
        self._rows = rows
        self._present = np.zeros(len(rows), dtype=np.bool_)

    def take(self, first: int, end: int) -> NDArray[np.bool_]:
        """Return (ears, slots) from `first` to before `end`: True where there is no ear.

        Spans follow each other. A change of a slot that was judged before counts from `first`.
        """
        absent = np.repeat(~self._present[:, None], end - first, axis=1)
        for i, row in enumerate(self._rows):
            while row.presence and row.presence[0][0] < end:
                slot, present = row.presence.popleft()
                absent[i, max(slot - first, 0) :] = not present
                self._present[i] = present
        return absent


def in_spans(slots: NDArray[np.int64], spans: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which slots lie in any of the spans (first, end)."""
    inside = np.zeros(slots.shape, dtype=np.bool_)
    for first, end in spans:
        inside |= (slots >= first) & (slots < end)
    return inside


class Judging(threading.Thread):
    """Judges the shard's ears and flushes its facts file, until `finish`."""

    def __init__(
        self,
        table: EarTable,
        media: Media,
        facts: FactsWriter,
        *,
        shard: str,
        origin_s: float,
        playout_s: float,
        sentinel: EarRow | None,
    ) -> None:
        """`sentinel`: the row of the shard's sentinel ear, if it has one."""
        super().__init__(name="judging", daemon=True)
        self.failure: BaseException | None = None
        """What ended the thread, None while it runs or when it finished."""
        self._table = table
        self._rows = table.rows
        self._media = media
        self._facts = facts
        self._shard = shard
        self._origin_s = origin_s
        self._behind_s = playout_s + BEHIND_S
        self._sentinel = next((i for i, row in enumerate(table.rows) if row is sentinel), None)
        self._participants = np.array([row.k for row in table.rows])
        self._own = np.array([row is not sentinel for row in table.rows], dtype=np.bool_)
        self._judge = listening.Judge(len(table.rows), table.judged_slot)
        self._absences = Absences(table.rows)
        self._last: Codes = np.full(len(table.rows), listening.ABSENT, dtype=np.uint8)
        self._transit: list[tuple[float, int]] = [(0.0, 0)] * len(table.rows)
        self._judgements = 0
        self._done = threading.Event()

    def finish(self) -> None:
        """Judge all that played until now, write it out, and end the thread."""
        self._done.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Flush and judge until finished."""
        try:
            ticks = 0
            while not self._done.wait(FLUSH_S):
                ticks += 1
                if ticks % FLUSHES_A_JUDGEMENT == 0:
                    self.judge_to(self._media.progress_s)
                self._facts.flush()
            self.judge_to(self._media.progress_s, behind_s=0.0)
            self._facts.flush()
        except BaseException as error:
            self.failure = error
            raise

    def judge_to(self, progress_s: float, *, behind_s: float | None = None) -> None:
        """Judge every slot that began `behind_s` (default: the usual) before `progress_s`."""
        behind_s = self._behind_s if behind_s is None else behind_s
        end = slot_at(progress_s, self._origin_s) + 1
        front = max(slot_at(progress_s - behind_s, self._origin_s) + 1, self._judge.next_slot)
        while self._judge.next_slot < front:
            # In steps, for a thread that slept long must not read beyond the ring.
            step = min(front, self._judge.next_slot + RING_SLOTS // 2)
            self._judge_span(step, min(end, step + RING_SLOTS // 4))
        self._tell_state()

    def _judge_span(self, front: int, end: int) -> None:
        first = self._judge.next_slot
        slots = np.arange(first, end)
        self._table.payloads.decode_new()
        numbers = self._table.numbers[:, slots & RING_MASK]
        symbols = self._table.payloads.symbols[numbers].transpose(0, 2, 1)
        loud = self._table.payloads.loud[numbers]
        judged = self._judge.judge(symbols, loud, ahead=end - front)

        codes, slots = judged.codes, slots[: front - first]
        unheard = ~listening.is_heard(codes)
        codes[unheard & (numbers[:, : front - first] == ear_table.UNJUDGED)] = listening.UNJUDGED
        codes[unheard & in_spans(slots, self._stalls(first))] = listening.UNJUDGED
        codes[self._absences.take(first, front)] = listening.ABSENT
        self._table.judged_slot = front
        self._table.numbers[:, slots & RING_MASK] = ear_table.EMPTY

        self._tell_changes(codes, first)
        self._tell_first_frames(codes, first)
        self._judgements += 1
        if self._judgements % JUDGEMENTS_A_SAMPLE == 0:
            self._tell_sample(codes, judged.index, first)
        self._tell_mark(codes, front)

    def _stalls(self, first: int) -> list[tuple[int, int]]:
        stalls = self._media.long_stalls
        while stalls and stalls[0][1] <= first:
            stalls.popleft()
        return list(stalls)

    # --- facts -----------------------------------------------------------------------------------

    def _tell_changes(self, codes: Codes, first: int) -> None:
        rows, columns = changes(codes, self._last)
        participants = self._participants[rows].tolist()
        values = codes[rows, columns].tolist()
        for p, slot, code in zip(participants, (columns + first).tolist(), values, strict=True):
            self._facts.write_line(ear_line(slot_start_s(slot, self._origin_s), p, slot, code))
        self._last = codes[:, -1].copy()

    def _tell_first_frames(self, codes: Codes, first: int) -> None:
        for i, row in enumerate(self._rows):
            while row.awaited:
                at = first_heard(codes[i], first, row.awaited)
                if at is None:
                    if len(row.awaited) == 1:
                        break
                    row.awaited.popleft()  # it joined anew before it heard anything
                    continue
                awaited = row.awaited.popleft()
                self._facts.write(
                    FirstFrame(
                        t=float(self._table.arrivals_s[i, at & RING_MASK]),
                        p=row.k,
                        room=awaited.room,
                        generation=awaited.generation,
                        band=band_of(int(codes[i, at - first])),
                    )
                )

    def _tell_sample(self, codes: Codes, index: NDArray[np.int32], first: int) -> None:
        """Write which index each ear heard in the slot, of the last few, that most heard."""
        count = listening.is_heard(codes[:, -_SAMPLE_SLOTS:]).sum(axis=0)
        if not count.any():
            return
        at = max(codes.shape[1] - _SAMPLE_SLOTS, 0) + int(count.argmax())
        rows, bands = np.nonzero((index[:, :, at] >= 0) & self._own[:, None])
        if not rows.size:
            return
        slot = first + at
        t = slot_start_s(slot, self._origin_s)
        arrivals_ms = (self._table.arrivals_s[rows, slot & RING_MASK] - t) * 1e3
        self._facts.write(
            HeardSymbols(
                t=t,
                s=slot,
                p=self._participants[rows].tolist(),
                band=bands.tolist(),
                index=index[rows, bands, at].tolist(),
                arrival_ms=[round(ms, 2) for ms in arrivals_ms.tolist()],
            )
        )

    def _tell_mark(self, codes: Codes, front: int) -> None:
        missing = 0
        if self._sentinel is not None:
            own = codes[self._sentinel]
            expected = (own != listening.ABSENT) & (own != listening.UNJUDGED)
            missing = int((expected & ~listening.is_heard(own)).sum())
        self._facts.write(
            Mark(
                t=time.monotonic(),
                shard=self._shard,
                s=front,
                lag_ms=self._media.take_lag_s() * 1e3,
                unjudged=int((codes[self._own] == listening.UNJUDGED).sum()),
                sentinel_missing=missing,
            )
        )

    def _tell_state(self) -> None:
        """Write the counters of every ear that has received or sent anything, once a second."""
        if self._judgements % JUDGEMENTS_A_SAMPLE:
            return
        chosen = [i for i, row in enumerate(self._rows) if row.received or row.sent]
        if not chosen:
            return
        rows = [self._rows[i] for i in chosen]
        self._facts.write(
            Net(
                t=time.monotonic(),
                p=[row.k for row in rows],
                received=[row.received for row in rows],
                missing=[max(row.missing, 0) for row in rows],
                late=[row.late for row in rows],
                sent=[row.sent for row in rows],
                transit_ms=[self._take_transit_ms(i) for i in chosen],
            )
        )

    def _take_transit_ms(self, i: int) -> float:
        """Return the mean arrival offset since the last call; 0.0 when nothing arrived."""
        row = self._rows[i]
        now = row.transit_s, row.stamps
        (sum_s, stamps), self._transit[i] = self._transit[i], now
        arrived = now[1] - stamps
        return round((now[0] - sum_s) / arrived * 1e3, 3) if arrived else 0.0
