"""Gaps, recovery and books of many listeners at once, on arrays of shape [listeners, slots].

One slot is 20 ms. Pure numpy; nothing here knows where the arrays come from. Classes and the
recovery rule: reference audio.md, section 2 (the delay condition is judged by the check
`audio_age`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.listening import HOWL, UNJUDGED

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Codes = NDArray[np.uint8]

SLOT_MS = 20
AUDIBLE_SLOTS = 3
"""Shortest gap that is heard as one, 60 ms, in slots; what is shorter is masked."""
INTERRUPTION_SLOTS = 8
"""Shortest gap of at least 150 ms, in slots (libwebrtc counts an interruption from 150 ms)."""
STEADY_SLOTS = 250
"""5 s: the span that shows that a listener hears again."""
STEADY_RATIO = 0.98
JUDGED_SHARE = 0.9
"""A span of which less than this was judged shows nothing."""
NEVER = -1
UNAFFECTED = -1


class GapClass(StrEnum):
    """How long a gap is: up to 40 ms masked, from 60, 150 ms, 1 s and 5 s."""

    MASKED = "masked"
    AUDIBLE = "audible"
    INTERRUPTION = "interruption"
    DROPOUT = "dropout"
    DEAD_AIR = "dead_air"


_BOUNDS_MS = np.array([60, 150, 1000, 5000])
_CLASSES = tuple(GapClass)


@dataclass(frozen=True, slots=True)
class Runs:
    """Maximal runs of True: parallel arrays of row, first column and length, in that order."""

    row: NDArray[np.intp]
    start: NDArray[np.intp]
    length: NDArray[np.intp]


def runs(mask: Mask) -> Runs:
    """Return the maximal runs of True in each row of `mask`, shape [rows, columns]."""
    rows, columns = mask.shape
    edges = np.zeros((rows, columns + 2), dtype=np.int8)
    edges[:, 1:-1] = mask
    steps = np.diff(edges, axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    return Runs(row, start, end - start)


def longest(mask: Mask) -> Counts:
    """Return the length of the longest run of True in each row, in slots; 0 where there is none."""
    found = runs(mask)
    out = np.zeros(mask.shape[0], dtype=np.int64)
    np.maximum.at(out, found.row, found.length)
    return out


def first_run(mask: Mask, at_least: int) -> Counts:
    """Return, for each row, where its first run of at least `at_least` True begins; -1 for none."""
    found = runs(mask)
    long = found.length >= at_least
    out = np.full(mask.shape[0], -1, dtype=np.int64)
    # Runs come in order of row and column: written backwards, the first of each row stays.
    out[found.row[long][::-1]] = found.start[long][::-1]
    return out


def gap_counts(missed: Mask) -> dict[GapClass, Counts]:
    """Return, for each class, how many gaps each row has; a gap is in one class only."""
    found = runs(missed)
    at = np.searchsorted(_BOUNDS_MS, found.length * SLOT_MS, side="right")
    return {
        c: np.bincount(found.row[at == i], minlength=missed.shape[0]).astype(np.int64)
        for i, c in enumerate(_CLASSES)
    }


def in_long_gap(missed: Mask, at_least_slots: int = INTERRUPTION_SLOTS) -> Mask:
    """Return a mask of the slots that belong to a run of at least `at_least_slots`."""
    found = runs(missed)
    long = found.length >= at_least_slots
    rows, columns = missed.shape
    steps = np.zeros((rows, columns + 1), dtype=np.int32)
    np.add.at(steps, (found.row[long], found.start[long]), 1)
    np.add.at(steps, (found.row[long], found.start[long] + found.length[long]), -1)
    inside: Mask = np.cumsum(steps[:, :-1], axis=1) > 0
    return inside


def grown(mask: Mask, by: int) -> Mask:
    """Return `mask`, shape [slots], with every run of True longer by `by` slots at both ends."""
    wide = mask.copy()
    for shift in range(1, min(by, len(mask) - 1) + 1):
        wide[shift:] |= mask[:-shift]
        wide[:-shift] |= mask[shift:]
    return wide


def _window_sums(mask: Mask, width: int) -> NDArray[np.int32]:
    sums = np.zeros((mask.shape[0], mask.shape[1] + 1), dtype=np.int32)
    np.cumsum(mask, axis=1, out=sums[:, 1:])
    return np.subtract(sums[:, width:], sums[:, :-width], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Of each row: column of the impact and column at which it was steady again.

    `impact` is UNAFFECTED and `recovered` NEVER where there is none; `recovered` is NEVER for
    unaffected rows too, so read `impact` first.
    """

    impact: NDArray[np.intp]
    recovered: NDArray[np.intp]


def recover(
    heard: Mask,
    missed: Mask,
    *,
    impact_from: int = 0,
    impact_until: int | None = None,
    span: int = STEADY_SLOTS,
) -> Recovery:
    """Return when each row was hit and when it heard again, as columns of `heard`.

    heard, missed: shape [listeners, slots]; a slot that is neither was not judged and counts as
    neither hearing nor gap. Columns are the slots in which the programme was planned, so that a
    pause of the programme is not a gap, and a gap goes on across a pause.
    impact: first slot of the first gap of at least 150 ms that touches [impact_from, impact_until);
    of a gap that began before, impact_from.
    recovered: first slot at or after the impact that is heard and starts `span` slots of which at
    least 98 % of those judged (and 90 % of all) are heard, none of them inside a gap of 150 ms or
    more.
    """
    rows, columns = heard.shape
    until = columns if impact_until is None else min(impact_until, columns)
    long = in_long_gap(missed)
    impact = np.full(rows, UNAFFECTED, dtype=np.intp)
    if impact_from < until:
        hit = long[:, impact_from:until]
        impact = np.where(hit.any(axis=1), hit.argmax(axis=1) + impact_from, UNAFFECTED)
    recovered = np.full(rows, NEVER, dtype=np.intp)
    if columns < span:
        return Recovery(impact.astype(np.intp), recovered)
    heard_sum = _window_sums(heard, span)
    judged_sum = heard_sum + _window_sums(missed, span)
    steady = (
        heard[:, : columns - span + 1]
        & (heard_sum >= STEADY_RATIO * judged_sum)
        & (judged_sum >= JUDGED_SHARE * span)
        & (_window_sums(long, span) == 0)
    )
    after = steady & (np.arange(steady.shape[1]) >= impact[:, None]) & (impact >= 0)[:, None]
    found = after.any(axis=1)
    recovered[found] = after[found].argmax(axis=1)
    return Recovery(impact.astype(np.intp), recovered)


@dataclass(frozen=True, slots=True)
class Books:
    """Frames of each row by what became of them; due = heard + silent + howl + unjudged."""

    due: Counts
    heard: Counts
    silent: Counts
    howl: Counts
    unjudged: Counts


@dataclass(frozen=True, slots=True)
class Heard:
    """Masks of shape [listeners, slots]; of the due slots each is in exactly one."""

    heard: Mask
    silent: Mask
    howl: Mask
    unjudged: Mask


def sort_slots(codes: Codes, planned: NDArray[np.uint8], due: Mask) -> Heard:
    """Sort every due slot by what the ear made of it.

    codes: ear codes, shape [listeners, slots]. planned: voice bits planned in each slot, shape
    [slots] or [listeners, slots]. due: which slots count for whom. An ear that is absent or hears
    something else (a private source, an unplanned voice, energy without a tone) is silent: it
    does not hear the programme.
    """
    unjudged = due & (codes == UNJUDGED)
    howl = due & (codes == HOWL)
    heard = due & (codes < UNJUDGED) & ((codes & planned) != 0)
    return Heard(heard, due & ~(heard | howl | unjudged), howl, unjudged)


def add_up(slots: Heard, due: Mask) -> Books:
    """Return the books of each row. Raises AssertionError when they do not balance."""

    def total(mask: NDArray[Any]) -> Counts:
        return np.asarray(mask.sum(axis=1), dtype=np.int64)

    books = Books(
        due=total(due),
        heard=total(slots.heard),
        silent=total(slots.silent),
        howl=total(slots.howl),
        unjudged=total(slots.unjudged),
    )
    remainder = books.due - books.heard - books.silent - books.howl - books.unjudged
    assert not remainder.any(), f"books do not balance: remainder {remainder}"
    return books
