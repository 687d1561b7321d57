"""What an ear heard, slot by slot: the codes, and the judgement that turns symbols into them.

An ear knows nothing of any sender's schedule. It has, for every 20 ms slot of its own playout, the
tone it decoded in each band, and from nine of them in a row it knows the sender's index
(`beacon.window_index`) and so the *lag*: slot number minus index. Speech that plays on keeps its
lag; what fits the lag was heard.

**Ear codes**, one byte a slot:

    ABSENT     255  no ear: before the slot of the participant's first join attempt, or after the
                    slot in which it left (one that gave up, or looks for a room, still has an ear)
    UNJUDGED   128  the crowd itself was late: neither heard nor silent
    HOWL       192  reserved for the howl rule
    SILENT       0  an ear, but nothing above -50 dBFS played: no datagram in time, or a silent one
    CONCEALED   64  something played, but no band fits its lag (foreign sound, broken frame)
    1, 2, 4         bits: the voice of band 0, 1, 2 was heard
    8, 16, 32       bits: the private source (hot mic) of band 0, 1, 2 was heard

Bits are added (3 = band 0 and band 1). `is_heard`, `voice_mask` and `private_mask` read them.

**Rules of the lock** (a window = nine symbols in a row):

1. Four windows in a row that agree on a lag lock.
2. A lock holds backwards to the lock before it and forwards to the lock after it, and for ever
   when none follows; losses and silence do not break it.
3. A slot is heard when its symbol fits the lock before it or the lock after it; within twelve
   symbols of a lock's own windows, that lock alone.
4. A mixer that lost frames on the way in jumps ahead and the voice plays on. So where symbols fit
   no lock, lags up to 12 slots beside it are followed too, along the path that fits most symbols
   when every change of lag costs 2.5 of them.
5. Where there is no lock to begin with, 14 symbols or more of which all fit one single index do as
   well: a join under loss.
6. A slot that fits outside any window is not heard when fewer than half of the symbols within five
   slots of it are: one foreign tone in five fits by chance. A lock that fits fewer than half of
   twelve or more symbols of a chunk is forgotten.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.beacon import BANDS, HALF, SEQUENCE, WINDOW, window_index

SILENT = 0
CONCEALED = 64
UNJUDGED = 128
HOWL = 192
ABSENT = 255
VOICE_BITS = 0b000111
PRIVATE_BITS = 0b111000
PRIVATE_SHIFT = BANDS

NEAR = 12
"""Lags of one source that differ by no more slots than this are one stretch of speech."""
AGREEING = 4
"""Windows in a row that must name one lag before it is believed: 12 symbols.

A window across a jump passes for some index by a chance of 1 in 6, and neighbouring words of a
de Bruijn sequence are alike, so that two and three such windows can agree.
"""
HISTORY = 24
"""Slots that a judge keeps before the first one it still has to judge."""

_NONE = -1
_LONG_AGO = 1 << 30
_SEARCH_SYMBOLS = 14
_SUPPORT_SLOTS = 5
_DOUBTED_SYMBOLS = 12
_CHANGE_COST = 2.5
_SHIFTS = np.arange(-NEAR, NEAR + 1, dtype=np.int32)

Lags = NDArray[np.int32]
"""Lag of a source by slot: private half in bit 15, slot minus index modulo 32768 below, -1 none."""


def is_heard(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where any voice or private source was heard. Same shape as `codes`."""
    return (codes > 0) & (codes < CONCEALED)


def voice_mask(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the voices heard: bit b = band b; 0 where the code is none of heard."""
    return np.where(codes < CONCEALED, codes & VOICE_BITS, 0).astype(np.uint8)


def private_mask(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the private sources heard: bit b = band b; 0 where the code is none of heard."""
    return np.where(codes < CONCEALED, (codes & PRIVATE_BITS) >> PRIVATE_SHIFT, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Judged:
    """Codes uint8 (ears, slots); the index heard by band, int32 (ears, bands, slots), -1 = none."""

    codes: NDArray[np.uint8]
    index: NDArray[np.int32]


class Judge:
    """Judges a fixed number of ears together, chunk after chunk of consecutive slots.

    Between chunks it keeps, for each ear and band, the last symbols and the lag. It starts with
    silence before `first_slot`.
    """

    def __init__(self, ears: int, first_slot: int) -> None:
        """Prepare for `ears` ears; the first chunk begins at `first_slot` (may be negative)."""
        self.next_slot = first_slot
        self._ears = ears
        self._tail = np.full((ears * BANDS, HISTORY), _NONE, dtype=np.int8)
        self._lag: Lags = np.full(ears * BANDS, _NONE, dtype=np.int32)

    def judge(
        self, symbols: NDArray[np.int8], loud: NDArray[np.bool_], *, ahead: int = 0
    ) -> Judged:
        """Judge all but the last `ahead` slots of a chunk that begins at `next_slot`.

        symbols: int8 (ears, bands, slots), -1 where nothing was decoded or nothing played in time.
        loud: bool (ears, slots), whether what played was above -50 dBFS.
        ahead: slots at the end that only help to judge those before; give them again next time.
        Raises ValueError when the shapes do not fit the number of ears.
        """
        slots = symbols.shape[2]
        if symbols.shape != (self._ears, BANDS, slots) or loud.shape != (self._ears, slots):
            raise ValueError(f"{symbols.shape} and {loud.shape} are not {self._ears} ears' slots")
        judged = slots - ahead
        rows = symbols.reshape(self._ears * BANDS, slots)
        strip = np.concatenate((self._tail, rows), axis=1)
        heard, index = self._follow(strip, judged)
        self._tail = np.ascontiguousarray(strip[:, judged : judged + HISTORY])
        self.next_slot += judged

        private = heard & (index >= HALF)
        bits = (heard & ~private).astype(np.uint8) | (private.astype(np.uint8) << PRIVATE_SHIFT)
        weights = np.left_shift(1, np.arange(BANDS)).astype(np.uint8)[:, None]
        shape = (self._ears, BANDS, judged)
        codes = (bits.reshape(shape) * weights).sum(axis=1).astype(np.uint8)
        codes[(codes == SILENT) & loud[:, :judged]] = CONCEALED
        return Judged(codes, np.where(heard, index, _NONE).astype(np.int32).reshape(shape))

    def _follow(
        self, strip: NDArray[np.int8], judged: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Return (heard, index) of the slots to judge and carry the lags forward."""
        slot = np.arange(strip.shape[1]) + (self.next_slot - HISTORY)
        start, end = _locks(strip, slot)
        fitted = _fit(strip, slot, start, end, self._lag)
        misfits = ((strip >= 0) & ~fitted.heard).sum(axis=1)
        found = [
            row
            for row in np.flatnonzero(misfits >= _SEARCH_SYMBOLS)
            if _search(strip[row], slot, ~fitted.heard[row], start[row], end[row])
        ]
        if found:
            fitted = _fit(strip, slot, start, end, self._lag)
        lag = fitted.before[:, HISTORY + judged - 1].copy() if judged else self._lag

        first = np.take_along_axis(start, (start >= 0).argmax(axis=1)[:, None], axis=1)[:, 0]
        reference = np.where(first >= 0, first, self._lag)
        astray = ((strip >= 0) & ~fitted.heard).any(axis=1) & (reference >= 0)
        rows = np.flatnonzero(astray)
        if rows.size:
            path = _track(strip[rows], slot, reference[rows])
            more = path.heard & ~fitted.heard[rows]
            fitted.heard[rows] |= more
            fitted.index[rows] = np.where(more, path.index, fitted.index[rows])
            fitted.certain[rows] &= ~more
            if judged:
                followed = _are_near(lag[rows], reference[rows])
                lag[rows] = np.where(followed, path.before[:, HISTORY + judged - 1], lag[rows])
        present = strip >= 0
        alone = fitted.heard & ~fitted.certain
        alone &= 2 * _around(fitted.heard) < _around(present)
        out = slice(HISTORY, HISTORY + judged)
        heard, due = (fitted.heard & ~alone)[:, out], present[:, out].sum(axis=1)
        wrong = (due >= _DOUBTED_SYMBOLS) & (2 * heard.sum(axis=1) < due)
        self._lag = np.where(wrong, _NONE, lag).astype(np.int32)
        return heard, fitted.index[:, out]


@dataclass(frozen=True, slots=True)
class _Fit:
    """By row and slot: heard, in a lock's own windows, index heard, lag of the lock before."""

    heard: NDArray[np.bool_]
    certain: NDArray[np.bool_]
    index: NDArray[np.int32]
    before: Lags


def _lag_of(slot: NDArray[np.int64], index: NDArray[np.int32]) -> Lags:
    lag = (index & HALF) | ((slot - index) & (HALF - 1))
    return np.where(index >= 0, lag, _NONE).astype(np.int32)


def _index_at(slot: NDArray[np.int64], lag: Lags) -> NDArray[np.int32]:
    """Return the index that a source with `lag` plays in `slot`; meaningless where lag is none."""
    return ((lag & HALF) | ((slot - lag) & (HALF - 1))).astype(np.int32)


def _are_near(one: Lags, other: Lags) -> NDArray[np.bool_]:
    """Return where two lags belong to one stretch of speech of one source."""
    apart = (one - other + NEAR) & (HALF - 1)
    same_half = (one ^ other) & HALF == 0
    return np.asarray(same_half & (one >= 0) & (other >= 0) & (apart <= 2 * NEAR))


def _shifted(lag: Lags, by: NDArray[np.int32]) -> Lags:
    return ((lag & HALF) | ((lag + by) & (HALF - 1))).astype(np.int32)


def _hold_forward(values: Lags, initial: Lags) -> tuple[Lags, NDArray[np.int64]]:
    """Return, for each position, the last value at or before it and how many slots ago it stood.

    Before the first value that is the row's initial one, an unbounded time ago.
    """
    position = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(values >= 0, position, _NONE), axis=1)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    since = np.where(last >= 0, position - last, _LONG_AGO)
    return np.where(last >= 0, held, initial[:, None]), since


def _hold_backward(values: Lags) -> tuple[Lags, NDArray[np.int64]]:
    """Return, for each position, the first value at or after it and how many slots away it is."""
    none = np.full(values.shape[0], _NONE, dtype=np.int32)
    held, until = _hold_forward(values[:, ::-1], none)
    return held[:, ::-1], until[:, ::-1]


def _locks(strip: NDArray[np.int8], slot: NDArray[np.int64]) -> tuple[Lags, Lags]:
    """Return the lags of believed windows, marked at their first and at their last slot."""
    windows = _lag_of(slot[: -WINDOW + 1], window_index(strip))
    agree = (windows[:, 1:] == windows[:, :-1]) & (windows[:, 1:] >= 0)
    runs = agree[:, : -AGREEING + 2].copy()
    for i in range(1, AGREEING - 1):
        runs &= agree[:, i : i + runs.shape[1]]
    firm = np.zeros(windows.shape, dtype=np.bool_)
    for i in range(AGREEING):
        firm[:, i : i + runs.shape[1]] |= runs
    believed = np.where(firm, windows, _NONE)
    start = np.full(strip.shape, _NONE, dtype=np.int32)
    end = start.copy()
    start[:, : -WINDOW + 1] = believed
    end[:, WINDOW - 1 :] = believed
    return start, end


def _fit(
    strip: NDArray[np.int8], slot: NDArray[np.int64], start: Lags, end: Lags, lag: Lags
) -> _Fit:
    """Fit every symbol to the locks before and after it (rules 2 and 3)."""
    before, since = _hold_forward(start, lag)
    after, until = _hold_backward(end)
    in_before, in_after = since < WINDOW, until < WINDOW
    outside = ~in_before & ~in_after
    heard = np.zeros(strip.shape, dtype=np.bool_)
    index = np.full(strip.shape, _NONE, dtype=np.int32)
    for candidate, allowed in (
        (before, in_before),
        (after, in_after),
        (before, outside & (before >= 0)),
        (after, outside & (after >= 0)),
    ):
        expected = _index_at(slot, candidate)
        fits = allowed & (strip >= 0) & ~heard & (SEQUENCE[expected] == strip)
        index[fits] = expected[fits]
        heard |= fits
    return _Fit(heard, ~outside, index, before)


def _track(strip: NDArray[np.int8], slot: NDArray[np.int64], reference: Lags) -> _Fit:
    """Follow every row through lags near its reference, changing as seldom as pays (rule 4).

    Viterbi's algorithm: one point for a symbol that fits, _CHANGE_COST off for a change of lag.
    """
    rows, slots = strip.shape
    candidate = _shifted(reference[:, None], _SHIFTS)
    index = _index_at(slot[:, None, None], candidate)
    fits = (SEQUENCE[index] == strip.T[:, :, None]) & (strip.T[:, :, None] >= 0)
    score = np.where(_SHIFTS == 0, 0.0, -_CHANGE_COST) + np.zeros((rows, 1))
    every = np.arange(rows)
    came_from = np.empty((slots, rows, len(_SHIFTS)), dtype=np.int8)
    for t in range(slots):
        best = score.argmax(axis=1)
        changed = score[every, best][:, None] - _CHANGE_COST
        stay = score >= changed
        came_from[t] = np.where(stay, np.arange(len(_SHIFTS)), best[:, None])
        score = np.where(stay, score, changed) + fits[t]
    state = score.argmax(axis=1)
    path = np.empty((slots, rows), dtype=np.int64)
    for t in range(slots - 1, -1, -1):
        path[t] = state
        state = came_from[t, every, state]
    pick = path[..., None]
    heard = np.take_along_axis(fits, pick, axis=2)[..., 0].T
    return _Fit(
        heard,
        np.zeros_like(heard),
        np.take_along_axis(index, pick, axis=2)[..., 0].T,
        candidate[every[:, None], path.T],
    )


def _search(
    symbols: NDArray[np.int8],
    slot: NDArray[np.int64],
    unfit: NDArray[np.bool_],
    start: Lags,
    end: Lags,
) -> bool:
    """Mark one lock of a row anywhere in the sequence, found through losses (rule 5).

    Return whether there is one. Only symbols where `unfit` holds are looked at.
    """
    where = np.flatnonzero(unfit & (symbols >= 0))
    if len(where) < _SEARCH_SYMBOLS:
        return False
    for positions in (where, where[::-1]):
        origin = positions[0]
        index = np.flatnonzero(np.equal(SEQUENCE, symbols[origin]))
        # Neighbouring words of a de Bruijn sequence are alike: go on until one index is left.
        for used, position in enumerate(positions[1:], start=2):
            moved = (index & HALF) | ((index + position - origin) & (HALF - 1))
            index = index[SEQUENCE[moved] == symbols[position]]
            if len(index) == 0:
                break
            if len(index) == 1 and used >= _SEARCH_SYMBOLS:
                lag = _lag_of(slot[origin : origin + 1], index.astype(np.int32))[0]
                start[min(origin, position)] = end[max(origin, position)] = lag
                return True
    return False


def _rolling(values: NDArray[np.bool_], span: int) -> NDArray[np.int64]:
    """Return sums over `span` positions of the last axis, one for each start."""
    sums = np.cumsum(values, axis=-1)
    sums = np.concatenate((np.zeros((*sums.shape[:-1], 1), dtype=sums.dtype), sums), axis=-1)
    return (sums[..., span:] - sums[..., :-span]).astype(np.int64)


def _around(values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many hold within _SUPPORT_SLOTS on either side, for every position."""
    padded = np.pad(values, ((0, 0), (_SUPPORT_SLOTS, _SUPPORT_SLOTS)))
    return _rolling(padded, 2 * _SUPPORT_SLOTS + 1)
