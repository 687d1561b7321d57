"""The books: every frame due is heard, silent, howl or unjudged, and silence has one cause."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.gaps import Books, Heard, Mask, add_up
from chaoskit.checks.causes import Cause, silent_by_cause
from chaoskit.checks.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Books in slots, rows as `participants`; `causes` splits `books.silent`."""

    participants: tuple[int, ...]
    due: Mask
    slots: Heard
    books: Books
    causes: dict[Cause, NDArray[np.int64]]


def keep_books(history: History, participants: Sequence[int] | None = None) -> Ledger:
    """Return the books of `participants` (default: all listeners) over the whole run.

    Raises AssertionError when they do not balance: that is a bug of ours, never a finding.
    """
    who = tuple(history.listeners if participants is None else participants)
    due = history.due(who)
    slots = history.sort(who, due)
    books = add_up(slots, due)
    causes = silent_by_cause(history, who, slots.silent)
    split = sum(causes.values(), np.zeros(len(who), dtype=np.int64))
    assert np.array_equal(split, books.silent), "causes of silence do not add up"
    return Ledger(participants=who, due=due, slots=slots, books=books, causes=causes)
