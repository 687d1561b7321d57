"""The recovery clock: per participant and fault, from its first effect until it hears again.

Faults that overlap have one joint clock (DESIGN §6). Stages: effective (the witness's stamp) →
noticed (first loss, failed connection or news of a room, or the first interruption) → signalling
back → in a room → first decoded frame → steady (start of 5 s at heard ratio 0.98, no gap of 150
ms).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.gaps import JUDGED_SHARE, recover
from chaoskit.checks.history import History
from chaoskit.checks.tracks import Span, Stay, Track
from chaoskit.model import SLOT_S
from chaoskit.wire.facts import ConnectFailed, FirstFrame, Found, Lost, SignalUp

AFTERMATH_S = 10.0
"""An impact that begins later than this after healing is not the fault's."""


class Cohort(StrEnum):
    """Who a participant is, relative to a fault.

    present: in a room at its effect and until it was healed. returning: was in a room before, and
    had to come back. new: first in a room, or first trying, after the effect; or never.
    """

    PRESENT = "present"
    RETURNING = "returning"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Faults that overlap, as one. `until_s`: where the next episode or the run's end is."""

    faults: tuple[str, ...]
    effect_s: float
    heal_s: float
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One participant in one episode; run times, None when a stage was not reached or not needed.

    `affected` False = it never missed 150 ms. `judged` False = too little of its time was judged to
    say; it then counts as never. `by_ear` False = nobody else was planned on air for it, so being
    in a room again is what counts. `from_s`: when its clock starts (effect, or its later first
    attempt).
    """

    participant: int
    cohort: Cohort
    affected: bool
    judged: bool
    by_ear: bool
    from_s: float
    heal_s: float
    impact_s: float | None = None
    noticed_s: float | None = None
    signalling_s: float | None = None
    joined_s: float | None = None
    first_frame_s: float | None = None
    steady_s: float | None = None

    def hears_after(self, from_: str) -> float:
        """Return seconds from `effect` or `heal` until it heard again; 0 unaffected, inf never."""
        if not self.judged:
            return inf
        if not self.affected:
            return 0.0
        if self.steady_s is None:
            return inf
        start_s = self.from_s if from_ == "effect" else max(self.from_s, self.heal_s)
        return inf if start_s == inf else max(0.0, self.steady_s - start_s)

    def since_effect(self, at_s: float | None) -> float | None:
        """Return seconds from the start of the clock to `at_s`."""
        return None if at_s is None else max(0.0, at_s - self.from_s)


def episodes(history: History) -> tuple[Episode, ...]:
    """Return the episodes of all faults that were injected, in order."""
    spans = [(f.id, s) for f in history.faults.values() if (s := f.span()) is not None]
    spans.sort(key=lambda pair: pair[1].from_s)
    merged: list[tuple[list[str], Span]] = []
    for fault_id, span in spans:
        if merged and span.from_s < merged[-1][1].until_s:
            ids, known = merged[-1]
            ids.append(fault_id)
            longer = max(known.until_s, span.until_s)
            merged[-1] = (ids, Span(from_s=known.from_s, until_s=longer))
        else:
            merged.append(([fault_id], span))
    ends = [*(span.from_s for _, span in merged), history.end_s][1:]
    return tuple(
        Episode(faults=tuple(ids), effect_s=span.from_s, heal_s=span.until_s, until_s=end_s)
        for (ids, span), end_s in zip(merged, ends, strict=True)
    )


def episode_of(history: History, fault_id: str) -> Episode | None:
    """Return the episode of a fault; None when it was never injected.

    Raises ValueError when the method has no such fault.
    """
    history.fault(fault_id)
    return next((e for e in episodes(history) if fault_id in e.faults), None)


def cohort_of(track: Track, episode: Episode) -> Cohort:
    """Return which cohort a participant belongs to."""
    first_s = track.first_joined_s
    if first_s is None or first_s > episode.effect_s:
        return Cohort.NEW
    stay = track.stay_at(episode.effect_s)
    healed_s = min(episode.heal_s, episode.until_s)
    if stay is not None and (stay.until_s >= healed_s or stay.end == "end"):
        return Cohort.PRESENT
    return Cohort.RETURNING


def cohorts(
    history: History, episode: Episode, participants: Sequence[int]
) -> dict[Cohort, tuple[int, ...]]:
    """Return the members of each cohort; everybody is in exactly one."""
    found: dict[Cohort, list[int]] = {c: [] for c in Cohort}
    for k in participants:
        found[cohort_of(history.tracks[k], episode)].append(k)
    return {c: tuple(members) for c, members in found.items()}


def clocks(history: History, episode: Episode, participants: Sequence[int]) -> tuple[Clock, ...]:
    """Return the recovery clock of each participant, in their order."""
    by_band: dict[int | None, list[int]] = defaultdict(list)
    for k in participants:
        by_band[history.tracks[k].group.speaker].append(k)
    found: dict[int, Clock] = {}
    for same_plan in by_band.values():
        found |= _by_ear(history, episode, same_plan)
    return tuple(
        found.get(k) or _by_room(history.tracks[k], episode, history.end_s) for k in participants
    )


def _by_ear(history: History, episode: Episode, participants: Sequence[int]) -> dict[int, Clock]:
    """Clock those who are owed audio after the effect; all of `participants` have the same plan.

    Columns are the slots in which somebody else was planned and the script had a microphone open.
    """
    columns = np.flatnonzero(history.audible_for(participants[:1])[0])
    if not columns.size:
        return {}
    owed = history.owed(participants)
    slots = history.sort(participants, owed)
    heard, missed = slots.heard[:, columns], (slots.silent | slots.howl)[:, columns]
    from_slot = history.slot(episode.effect_s)
    until_s = min(episode.until_s, episode.heal_s + AFTERMATH_S)
    first, last = np.searchsorted(columns, [from_slot, history.slot(until_s)])
    recovery = recover(heard, missed, impact_from=int(first), impact_until=int(last))
    later = columns[first:]
    due_after = owed[:, later].sum(axis=1)
    unjudged = slots.unjudged[:, later].sum(axis=1)
    found: dict[int, Clock] = {}
    for i, k in enumerate(participants):
        if not due_after[i]:
            continue
        impact, recovered = int(recovery.impact[i]), int(recovery.recovered[i])
        if impact < 0 and _missed_nothing(history, history.tracks[k], episode, later):
            continue
        found[k] = _clock(
            history.tracks[k],
            episode,
            judged=bool(unjudged[i] <= (1 - JUDGED_SHARE) * due_after[i]),
            impact_s=float(columns[impact]) * SLOT_S if impact >= 0 else None,
            steady_s=float(columns[recovered]) * SLOT_S if recovered >= 0 else None,
        )
    return found


def _missed_nothing(
    history: History, track: Track, episode: Episode, audible: NDArray[np.intp]
) -> bool:
    """Return whether it lost its room while there was nothing to hear, so that ears cannot tell."""
    stay = track.stay_at(episode.effect_s)
    if stay is None or stay.until_s >= min(episode.until_s, history.end_s) or stay.end == "end":
        return False
    again = track.joined_after(stay.until_s)
    out = history.slot(stay.until_s), history.slot(again.from_s if again else history.end_s)
    first, last = np.searchsorted(audible, out)
    return bool(first == last)


def _by_room(track: Track, episode: Episode, end_s: float) -> Clock:
    until_s = min(episode.until_s, episode.heal_s + AFTERMATH_S)
    stay = track.stay_at(episode.effect_s)
    if stay is not None and (stay.until_s >= min(until_s, end_s) or stay.end == "end"):
        impact_s: float | None = None
        steady_s = None
    else:
        impact_s = episode.effect_s if stay is None else stay.until_s
        again = track.joined_after(impact_s)
        steady_s = again.from_s if again else None
    return _clock(track, episode, judged=True, impact_s=impact_s, steady_s=steady_s, by_ear=False)


def _clock(
    track: Track,
    episode: Episode,
    *,
    judged: bool,
    impact_s: float | None,
    steady_s: float | None,
    by_ear: bool = True,
) -> Clock:
    cohort = cohort_of(track, episode)
    from_s = episode.effect_s
    if cohort is Cohort.NEW and track.first_attempt_s is not None:
        from_s = max(from_s, track.first_attempt_s)
    if impact_s is None:
        return Clock(
            participant=track.participant,
            cohort=cohort,
            affected=False,
            judged=judged,
            by_ear=by_ear,
            from_s=from_s,
            heal_s=episode.heal_s,
        )
    told = [
        t for t, f in track.facts if isinstance(f, Lost | ConnectFailed | Found) and t >= from_s
    ]
    noticed_s = min([*told[:1], max(impact_s, from_s)])
    again = _way_back(track, from_s, steady_s)
    return Clock(
        participant=track.participant,
        cohort=cohort,
        affected=True,
        judged=judged,
        by_ear=by_ear,
        from_s=from_s,
        heal_s=episode.heal_s,
        impact_s=impact_s,
        noticed_s=noticed_s,
        signalling_s=_first(track, SignalUp, noticed_s),
        joined_s=again.from_s if again else None,
        first_frame_s=_first(track, FirstFrame, max(impact_s, from_s)),
        steady_s=steady_s,
    )


def _way_back(track: Track, from_s: float, steady_s: float | None) -> Stay | None:
    """Return the stay that led to steady hearing; the first new one for who never got there.

    A participant may get in, be sent away again, and come back for good.
    """
    if steady_s is None:
        return track.joined_after(from_s)
    new = [s for s in track.stays if from_s <= s.from_s <= steady_s]
    return new[-1] if new else track.joined_after(from_s)


def _first(track: Track, kind: type[SignalUp] | type[FirstFrame], since_s: float) -> float | None:
    return next((t for t, f in track.facts if isinstance(f, kind) and t >= since_s), None)
