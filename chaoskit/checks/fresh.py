"""Fresh rooms: who was in the first one, who found the next, when they heard somebody there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaoskit.audio.gaps import first_run
from chaoskit.checks.history import History
from chaoskit.checks.rooms import RoomOpened
from chaoskit.model import SLOT_S

HEARD_SLOTS = 5
"""100 ms in a row: a listener has heard a speaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One participant and the fresh room: run times, None for never."""

    participant: int
    was_in_first: bool
    joined_s: float | None
    heard_s: float | None


def fresh_room(history: History, after_generation: int) -> RoomOpened | None:
    """Return the first room opened after generation `after_generation`, or None."""
    return next((r for r in history.rooms if r.generation > after_generation), None)


def first_generation(history: History) -> int:
    """Return the generation of the event's first room; 0 when no room was ever seen."""
    return history.rooms[0].generation if history.rooms else 0


def arrivals(
    history: History, participants: Sequence[int], after_generation: int
) -> tuple[Arrival, ...]:
    """Return when each participant was in a later room, and when it heard a speaker there."""
    hears = history.hears(participants)
    for i, k in enumerate(participants):
        inside = np.zeros(history.slots, dtype=np.bool_)
        for stay in history.tracks[k].stays:
            if stay.generation > after_generation:
                inside[history.slot(stay.from_s) : history.slot(stay.until_s)] = True
        hears[i] &= inside
    first = first_run(hears, HEARD_SLOTS)
    out: list[Arrival] = []
    for i, k in enumerate(participants):
        stays = history.tracks[k].stays
        joined = next((s.from_s for s in stays if s.generation > after_generation), None)
        out.append(
            Arrival(
                participant=k,
                was_in_first=any(s.generation <= after_generation for s in stays),
                joined_s=joined,
                heard_s=float(first[i]) * SLOT_S if first[i] >= 0 else None,
            )
        )
    return tuple(out)


def first_word_s(
    history: History, participants: Sequence[int], bits: int, *, from_s: float, until_s: float
) -> list[float | None]:
    """Return when what each participant first hears of the ear bits `bits` was said.

    Run time at the mouth, as `from_s` and `until_s` are: what ears heard, less the ear delay.
    """
    delay_s = history.ear_delay_s
    hears = history.hears(participants, bits)
    hears[:, : history.slot(from_s + delay_s)] = False
    hears[:, history.slot(until_s + delay_s) :] = False
    first = first_run(hears, HEARD_SLOTS)
    return [float(at) * SLOT_S - delay_s if at >= 0 else None for at in first]
