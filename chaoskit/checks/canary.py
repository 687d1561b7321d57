"""How the canaries fared: one row before, during and after the faults of a run."""

import numpy as np

from chaoskit.checks.canary_group import CANARY, JOIN_TIMEOUT_S
from chaoskit.checks.history import History
from chaoskit.checks.tracks import Span, Track
from chaoskit.model import Json
from chaoskit.wire.facts import Attempt

_PHASES = ("before", "during", "after")
_COMES = frozenset({"arrival", "rejoin"})


def canary_rows(history: History) -> list[dict[str, Json]]:
    """Return how often canaries tried, got in, heard a speaker: before, during, after the faults.

    `join_p50_s`, `join_max_s`: from the attempt to the room, when it got in. A visit (a canary
    comes again and again) belongs to the phase in which it began. Empty without canaries.
    """
    begun = [f.effect_s or f.injecting_s for f in history.faults.values()]
    ended = [f.healed_s for f in history.faults.values()]
    first = min((s for s in begun if s is not None), default=None)
    last = max((s for s in ended if s is not None), default=None)
    counted: dict[str, list[tuple[float | None, bool]]] = {phase: [] for phase in _PHASES}
    for group in history.experiment.crowd.groups:
        if group.role != CANARY:
            continue
        for k in group.members():
            hears = history.hears((k,))[0]
            for visit in _visits(history.tracks[k], history.end_s):
                at_s = visit.from_s
                # One whose time was not up when the run ended says nothing.
                if at_s + JOIN_TIMEOUT_S > history.end_s:
                    continue
                phase = "before" if first is None or at_s < first else "during"
                if last is not None and at_s >= last:
                    phase = "after"
                stay = history.tracks[k].joined_after(at_s)
                got_in = stay is not None and stay.from_s < visit.until_s
                heard = bool((hears & history.span_mask([visit])).any())
                counted[phase].append((stay.from_s - at_s if stay and got_in else None, heard))
    rows: list[dict[str, Json]] = []
    for phase, seen in counted.items():
        times = [s for s, _ in seen if s is not None]
        if seen:
            rows.append(
                {
                    "phase": phase,
                    "tried": len(seen),
                    "joined": len(times),
                    "heard": sum(1 for _, heard in seen if heard),
                    "join_p50_s": round(float(np.median(times)), 3) if times else None,
                    "join_max_s": round(max(times), 3) if times else None,
                }
            )
    return rows


def _visits(track: Track, end_s: float) -> list[Span]:
    """Return each coming of a canary, up to its next one or the run's end."""
    begun = [at_s for at_s, fact in track.of(Attempt) if fact.why in _COMES]
    return [
        Span(from_s=at_s, until_s=until_s)
        for at_s, until_s in zip(begun, [*begun[1:], end_s], strict=False)
    ]
