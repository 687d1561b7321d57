"""Check `join_time`: how long participants take from their first try until they are in a room."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Self

from chaoskit.checks.history import History
from chaoskit.checks.population import judge_bounds, unreadable
from chaoskit.checks.protocol import Seconds, check_common, need_one, read_params
from chaoskit.checks.tracks import Span, Track
from chaoskit.model import CheckResult, CheckSpec
from chaoskit.wire.facts import Attempt, Joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Bounds on the time from the first attempt of a row of attempts until joined."""

    p50_at_most_s: Seconds | None = None
    p95_at_most_s: Seconds | None = None
    p99_at_most_s: Seconds | None = None
    max_at_most_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTime:
    """Each participant counts with its slowest join begun in the window; never is the worst."""

    kind: ClassVar[str] = "join_time"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = False
    at_gate: ClassVar[bool] = True
    population: ClassVar[tuple[str, ...]] = ("listener",)
    during: ClassVar[str] = "run"
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
        """Return the statistic over those who tried, or were to arrive, within the window."""
        windows = history.windows(self.spec.during)
        values: list[float] = []
        idle = 0
        for k in history.members(self.spec.members):
            value = _slowest(history.tracks[k], windows, history.arrival_s(k))
            if value is None:
                idle += 1
            else:
                values.append(value)
        if not values:
            return unreadable(self.spec, "nobody tried to join in the window", n=0)
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
            notes=[f"{idle} had nothing to join in the window" if idle else ""],
        )


def _slowest(track: Track, windows: tuple[Span, ...], arrival_s: float) -> float | None:
    def counts(at_s: float) -> bool:
        return any(w.from_s <= at_s < w.until_s for w in windows)

    if track.first_attempt_s is None:
        return inf if counts(arrival_s) else None
    slowest: float | None = None
    began: float | None = None
    for at_s, fact in track.facts:
        if isinstance(fact, Attempt) and began is None:
            began = at_s
        elif isinstance(fact, Joined):
            if began is not None and counts(began):
                slowest = max(slowest or 0.0, at_s - began)
            began = None
    return inf if began is not None and counts(began) else slowest
