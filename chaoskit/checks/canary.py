"""How the canaries fared: one row before, during and after the faults of a run."""

import numpy as np

from chaoskit.checks.canary_group import CANARY, JOIN_TIMEOUT_S
from chaoskit.checks.history import History
from chaoskit.model import Json

_PHASES = ("before", "during", "after")


def canary_rows(history: History) -> list[dict[str, Json]]:
    """Return for before, during and after the faults: canaries that tried, got in, heard a speaker.

    `join_p50_s`, `join_max_s`: from the attempt to the room, of those who got in. A canary belongs
    to the phase in which it first tried. Empty without canaries.
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
            track = history.tracks[k]
            at_s = track.first_attempt_s
            # One whose time was not up when the run ended says nothing.
            if at_s is None or at_s + JOIN_TIMEOUT_S > history.end_s:
                continue
            phase = "before" if first is None or at_s < first else "during"
            if last is not None and at_s >= last:
                phase = "after"
            joined = track.first_joined_s
            heard = bool(history.hears((k,)).any())
            counted[phase].append((None if joined is None else joined - at_s, heard))
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
