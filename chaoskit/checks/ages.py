"""How old the audio is that ears play: time between sending a beacon symbol and its playing."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from chaoskit.audio.beacon import HALF
from chaoskit.checks.history import History
from chaoskit.checks.tracks import Span
from chaoskit.model import SLOT_S

_LONGEST_S = 10.0


def ages(history: History, windows: Iterable[Span]) -> dict[int, list[float]]:
    """Return the ages in seconds that each participant's ear met in `windows`, by participant.

    A symbol's time of sending comes from the speaker's own facts (one a second, 20 ms a symbol);
    its time of playing is the start of its slot, so the playout buffer is part of the age.
    Symbols that fit no fact of their speaker within 10 s are left out.
    """
    sent = {
        band: (np.array([t for t, _ in pairs]), np.array([i for _, i in pairs]))
        for band, pairs in _sent(history).items()
    }
    spans = tuple(windows)
    found: dict[int, list[float]] = defaultdict(list)
    for fact in history.heard_symbols:
        played_s = fact.s * SLOT_S
        if not any(span.from_s <= played_s < span.until_s for span in spans):
            continue
        for k, band, index in zip(fact.p, fact.band, fact.index, strict=True):
            if band in sent:
                age = _age(*sent[band], played_s, index)
                if age is not None:
                    found[k].append(age)
    return found


def _sent(history: History) -> dict[int, list[tuple[float, int]]]:
    by_band: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for fact in history.sent_symbols:
        by_band[fact.band].append((fact.t - history.origin_s, fact.index))
    return {band: sorted(pairs) for band, pairs in by_band.items()}


def _age(
    sent_s: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    index: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    played_s: float,
    heard: int,
) -> float | None:
    last = int(np.searchsorted(sent_s, played_s, side="right"))
    # The newest fact that leads to this symbol: a microphone that paused starts anew.
    for at in range(last - 1, max(-1, last - 13), -1):
        if (int(index[at]) ^ heard) & HALF:
            continue
        steps = (heard - int(index[at]) + HALF // 2) % HALF - HALF // 2
        age = played_s - (float(sent_s[at]) + steps * SLOT_S)
        if 0.0 <= age <= _LONGEST_S and abs(steps) * SLOT_S <= _LONGEST_S:
            return age
    return None
