"""Check `first_word`: when the audience first hears a speaker."""

from dataclasses import dataclass
from math import ceil, inf
from typing import ClassVar, Self

from chaoskit.checks.fresh import first_word_s
from chaoskit.checks.history import History, voice_bit
from chaoskit.checks.population import result, unreadable
from chaoskit.checks.protocol import Fraction, ParamError, Seconds, check_common, read_params
from chaoskit.model import CheckResult, CheckSpec, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`speaker`: a group with a band. `within_s`: counted from run time `after_s`, at the mouth.

    `after_s`: default the method's zero (in a replay, the scheduled start). `at_least`: share of
    the population that has to have heard it.
    """

    speaker: str
    within_s: Seconds
    after_s: Seconds | None = None
    at_least: Fraction = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstWord:
    """The time by which so many of the population have heard the speaker for 100 ms on end."""

    kind: ClassVar[str] = "first_word"
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
        bounds = read_params(Params, spec)
        if bounds.at_least == 0:
            raise ParamError("check first_word: at_least 0 is heard by nobody", "at_least")
        return cls(spec=spec, bounds=bounds)

    def judge(self, history: History) -> CheckResult:
        """Return seconds until the share had heard it; None when it never had."""
        band = history.group(self.bounds.speaker).speaker
        if band is None:
            return unreadable(self.spec, f"{self.bounds.speaker} is no speaker")
        members = history.members(self.spec.members)
        if not members:
            return unreadable(self.spec, "nobody in the population")
        after_s = self.bounds.after_s
        if after_s is None:
            after_s = history.experiment.method_zero_s
        heard = first_word_s(
            history, members, voice_bit(band), from_s=after_s, until_s=history.end_s
        )
        times = sorted(inf if t is None else t - after_s for t in heard)
        at = times[ceil(self.bounds.at_least * len(times)) - 1]
        ever = sum(1 for t in times if t < inf)
        return result(
            self.spec,
            Verdict.HELD if at <= self.bounds.within_s else Verdict.DEVIATED,
            observed=at,
            threshold=f"≤ {self.bounds.within_s:g} s for {self.bounds.at_least:g}",
            unit="s",
            n=len(members),
            notes=[f"{ever} of {len(times)} ever heard {self.bounds.speaker}"],
        )
