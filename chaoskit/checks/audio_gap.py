"""Check `audio_gap`: the longest stretch in which a listener misses the planned programme."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from chaoskit.audio.gaps import GapClass, gap_counts, longest
from chaoskit.checks.history import History
from chaoskit.checks.population import judge_bounds, unmeasurable, unreadable
from chaoskit.checks.protocol import Seconds, check_common, need_one, read_params
from chaoskit.model import SLOT_S, CheckResult, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Bounds on the longest gap of each listener."""

    p50_at_most_s: Seconds | None = None
    p95_at_most_s: Seconds | None = None
    p99_at_most_s: Seconds | None = None
    max_at_most_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGap:
    """Each participant counts with its longest gap; who never tried misses everything.

    The note counts all gaps of the population by class (audio.gaps).
    """

    kind: ClassVar[str] = "audio_gap"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = False
    at_gate: ClassVar[bool] = True
    population: ClassVar[tuple[str, ...]] = ("listener",)
    during: ClassVar[str] = "steady"
    spec: CheckSpec
    bounds: Params

    @classmethod
    def parse(cls, spec: CheckSpec) -> Self:
        """Return the check of `spec`. Raises ParamError."""
        check_common(cls, spec)
        bounds = read_params(Params, spec)
        need_one(bounds, Params.__slots__, cls.kind)
        return cls(spec=spec, bounds=bounds)

    def judge(self, history: History) -> CheckResult:
        """Return the statistic of the longest gaps, in seconds."""
        members = history.members(self.spec.members)
        due = history.owed(members) & history.mask(self.spec.during, members)
        if not due.any():
            return unreadable(self.spec, "nothing was due in the window", n=len(members))
        slots = history.sort(members, due)
        blind = unmeasurable(int(due.sum()), int(slots.unjudged.sum()))
        if blind:
            return unreadable(self.spec, blind, n=len(members))
        missed = slots.silent | slots.howl
        gaps = np.zeros(len(members), dtype=np.int64)
        counts = Counter[GapClass]()
        # Each window by itself: no gap reaches from one into the next. Pauses of the programme
        # are left out, so that a gap goes on across them.
        for window in history.windows(self.spec.during):
            part = slice(history.slot(window.from_s), history.slot(window.until_s))
            here = missed[:, part][:, due[:, part].any(axis=0)]
            gaps = np.maximum(gaps, longest(here))
            counts.update({c: int(n.sum()) for c, n in gap_counts(here).items()})
        return judge_bounds(
            self.spec,
            [float(g) * SLOT_S for g in gaps],
            {
                "p50": self.bounds.p50_at_most_s,
                "p95": self.bounds.p95_at_most_s,
                "p99": self.bounds.p99_at_most_s,
                "max": self.bounds.max_at_most_s,
            },
            unit="s",
            notes=[", ".join(f"{c.value} {n}" for c, n in counts.items() if n)],
        )
