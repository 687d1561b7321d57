"""Check `heard_ratio`: the share of due frames that listeners heard."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.checks.history import History
from chaoskit.checks.population import result, unmeasurable, unreadable
from chaoskit.checks.protocol import Fraction, check_common, read_params
from chaoskit.model import SLOT_S, CheckResult, CheckSpec, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`at_least`: share of all frames due to the population that were heard."""

    at_least: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardRatio:
    """Listener-seconds heard over those due and judged; who never tried heard nothing."""

    kind: ClassVar[str] = "heard_ratio"
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
        return cls(spec=spec, bounds=read_params(Params, spec))

    def judge(self, history: History) -> CheckResult:
        """Return the pooled ratio."""
        members = history.members(self.spec.members)
        threshold = f"≥ {self.bounds.at_least:g}"
        due = history.owed(members) & history.mask(self.spec.during, members)
        slots = history.sort(members, due)
        total, unjudged = int(due.sum()), int(slots.unjudged.sum())
        why = unmeasurable(total, unjudged) or ("" if total else "nothing was due in the window")
        if why:
            return unreadable(self.spec, why, n=len(members), threshold=threshold)
        ratio = int(slots.heard.sum()) / (total - unjudged)
        return result(
            self.spec,
            Verdict.HELD if ratio >= self.bounds.at_least else Verdict.DEVIATED,
            observed=ratio,
            threshold=threshold,
            unit="",
            n=len(members),
            notes=[f"of {total * SLOT_S:.0f} listener-seconds"],
        )
