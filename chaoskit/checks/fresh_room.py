"""Check `fresh_room`: who is in a newer room within so many seconds of a fault."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.checks.history import History
from chaoskit.checks.population import judge_share, origin_of, seconds_text, unreadable
from chaoskit.checks.protocol import Fraction, Seconds, check_common, read_params
from chaoskit.model import CheckResult, CheckSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`within_s`: from the fault's effect (or healing); `at_least`: share of the population."""

    within_s: Seconds
    at_least: Fraction = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRoom:
    """In a room of a newer generation than the one current when the fault took effect."""

    kind: ClassVar[str] = "fresh_room"
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
        return cls(spec=spec, bounds=read_params(Params, spec))

    def judge(self, history: History) -> CheckResult:
        """Return the share that was in a fresh room in time."""
        members = history.members(self.spec.members)
        effect_s = history.fault(self.spec.of or "").effect_s
        from_s = origin_of(history, self.spec)
        if effect_s is None or from_s is None:
            return unreadable(self.spec, f"{self.spec.of} has no {self.spec.from_}", n=len(members))
        old = history.generation_at(effect_s)
        times = [
            stay.from_s - from_s
            for k in members
            if (stay := history.tracks[k].joined_after(effect_s, newer_than=old)) is not None
        ]
        in_time = sum(1 for t in times if t <= self.bounds.within_s)
        return judge_share(
            self.spec,
            in_time,
            len(members),
            self.bounds.at_least,
            notes=[
                f"within {self.bounds.within_s:g} s of {self.spec.from_}",
                f"last after {seconds_text(max(times))}" if times else "no fresh room was joined",
            ],
        )
