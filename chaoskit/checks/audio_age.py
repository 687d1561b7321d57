"""Check `audio_age`: how old the audio is when a listener hears it (mouth to ear)."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Self

import numpy as np

from chaoskit.checks.ages import ages
from chaoskit.checks.history import History
from chaoskit.checks.population import judge_bounds, unreadable
from chaoskit.checks.protocol import Seconds, check_common, need_one, read_params
from chaoskit.model import CheckResult, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Bounds on the median age of each listener."""

    p50_at_most_s: Seconds | None = None
    p95_at_most_s: Seconds | None = None
    p99_at_most_s: Seconds | None = None
    max_at_most_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioAge:
    """Each participant counts with the median age of what it heard; nothing heard is the worst."""

    kind: ClassVar[str] = "audio_age"
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
        """Return the statistic of the median ages, in seconds."""
        members = history.members(self.spec.members)
        heard = ages(history, history.windows(self.spec.during))
        if not heard:
            return unreadable(self.spec, "no symbol was heard in the window", n=len(members))
        values = [float(np.median(heard[k])) if k in heard else inf for k in members]
        silent = sum(1 for v in values if v == inf)
        return judge_bounds(
            self.spec,
            values,
            {
                "p50": self.bounds.p50_at_most_s,
                "p95": self.bounds.p95_at_most_s,
                "p99": self.bounds.p99_at_most_s,
                "max": self.bounds.max_at_most_s,
            },
            unit="s",
            notes=[f"{silent} heard nothing" if silent else ""],
        )
