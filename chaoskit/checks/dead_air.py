"""Check `dead_air`: the longest planned stretch in which (nearly) nobody hears a speaker."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.audio.gaps import longest
from chaoskit.checks.history import History
from chaoskit.checks.population import result, unmeasurable, unreadable
from chaoskit.checks.protocol import Fraction, Seconds, check_common, read_params
from chaoskit.model import SLOT_S, CheckResult, CheckSpec, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`at_most_s`: longest dead air; it is dead while fewer than `heard_by` of those in hear."""

    at_most_s: Seconds
    heard_by: Fraction = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadAir:
    """One number for the whole audience: how long the planned programme reached no one."""

    kind: ClassVar[str] = "dead_air"
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
        return cls(spec=spec, bounds=read_params(Params, spec))

    def judge(self, history: History) -> CheckResult:
        """Return the longest dead air in seconds."""
        members = history.members(self.spec.members)
        threshold = f"≤ {self.bounds.at_most_s:g} s"
        due = history.owed(members) & history.mask(self.spec.during, members)
        slots = history.sort(members, due)
        blind = unmeasurable(int(due.sum()), int(slots.unjudged.sum()))
        if blind:
            return unreadable(self.spec, blind, n=len(members), threshold=threshold)
        judged = (due & ~slots.unjudged).sum(axis=0)
        columns = judged > 0
        if not columns.any():
            why = "nothing was due in the window"
            return unreadable(self.spec, why, n=len(members), threshold=threshold)
        heard = slots.heard.sum(axis=0)[columns]
        # At least one listener has to hear, however few there are.
        enough = (heard > 0) & (heard >= self.bounds.heard_by * judged[columns])
        observed = float(longest(~enough[None, :])[0]) * SLOT_S
        return result(
            self.spec,
            Verdict.HELD if observed <= self.bounds.at_most_s else Verdict.DEVIATED,
            observed=observed,
            threshold=threshold,
            unit="s",
            n=len(members),
        )
