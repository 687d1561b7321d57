"""Check `recovery`: how soon after a fault participants hear again, and how many never do."""

from dataclasses import dataclass
from math import isinf
from typing import ClassVar, Self

from chaoskit.checks.clocks import clocks, episode_of
from chaoskit.checks.history import History
from chaoskit.checks.population import judge_bounds, unreadable
from chaoskit.checks.protocol import Seconds, check_common, need_one, read_params
from chaoskit.model import CheckResult, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Bounds on the time from the fault's effect (or healing) until steady hearing."""

    p50_at_most_s: Seconds | None = None
    p95_at_most_s: Seconds | None = None
    p99_at_most_s: Seconds | None = None
    max_at_most_s: Seconds | None = None
    never_at_most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The recovery clock against its bounds; unaffected counts as 0 s, never as infinite."""

    kind: ClassVar[str] = "recovery"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = True
    at_gate: ClassVar[bool] = False
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
        """Return the statistic of the clocks, in seconds."""
        members = history.members(self.spec.members)
        episode = episode_of(history, self.spec.of or "")
        if episode is None:
            return unreadable(self.spec, f"{self.spec.of} was never injected", n=len(members))
        found = clocks(history, episode, members)
        values = [clock.hears_after(self.spec.from_) for clock in found]
        never = sum(1 for v in values if isinf(v))
        unaffected = sum(1 for c in found if c.judged and not c.affected)
        unjudged = sum(1 for c in found if not c.judged)
        limit = self.bounds.never_at_most
        also = []
        if limit is not None:
            also = [(never <= limit, f"never ≤ {limit}", f"{never} never heard again")]
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
            also=also,
            notes=[
                f"{unaffected} unaffected (0 s)" if unaffected else "",
                f"{unjudged} not judged (as never)" if unjudged else "",
                f"joint clock of {', '.join(episode.faults)}" if len(episode.faults) > 1 else "",
            ],
        )
