"""Check `retention`: who of the first room, by identity, hears somebody in a fresh one."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.checks.fresh import arrivals, first_generation, fresh_room
from chaoskit.checks.history import History
from chaoskit.checks.population import judge_share, unreadable
from chaoskit.checks.protocol import Fraction, Seconds, check_common, read_params
from chaoskit.model import CheckResult, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`at_least`: share; `within_s`: of the fresh room's opening (default: by the run's end)."""

    at_least: Fraction
    within_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Of the ids that were in the first room, the share that hear a speaker in a later room.

    With `of`, the first room is the one current when that fault took effect.
    """

    kind: ClassVar[str] = "retention"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = False
    at_gate: ClassVar[bool] = False
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
        """Return the share retained; without a fresh room nobody is."""
        members = history.members(self.spec.members)
        old = first_generation(history)
        if self.spec.of is not None:
            effect_s = history.fault(self.spec.of).effect_s
            if effect_s is None:
                return unreadable(self.spec, f"{self.spec.of} was never injected", n=len(members))
            old = history.generation_at(effect_s)
        fresh = fresh_room(history, old)
        first = [a for a in arrivals(history, members, old) if a.was_in_first]
        if not first:
            return unreadable(self.spec, "nobody in the population was in the first room")
        until_s = history.end_s
        if fresh is not None and self.bounds.within_s is not None:
            until_s = fresh.opened_s + self.bounds.within_s
        kept = sum(1 for a in first if a.heard_s is not None and a.heard_s <= until_s)
        return judge_share(
            self.spec,
            kept,
            len(first),
            self.bounds.at_least,
            notes=["no fresh room was opened" if fresh is None else ""],
        )
